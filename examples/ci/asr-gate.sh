#!/bin/sh
# Is the model of this commit good enough? Makes an ASREvaluation, waits for its end, and answers by the exit code.
#   asr-gate.sh [-n NAMESPACE] [-t SECONDS] [-s SUMMARY] [-d] MANIFEST COMMIT
#     MANIFEST  one ASREvaluation; each @COMMIT@ in it becomes COMMIT, so that every commit has an output of its own
#     -n  namespace; default: the manifest's, else the kubeconfig's     -t  give up after so long; default: 7200
#     -s  append what came of it to this file, as Markdown              -d  delete the evaluation when it has ended
# Exit codes: 0 the gate has passed, or there is none; 1 it has not passed; 2 the evaluation has failed; 3 it could not be
# made or followed; 4 the time is over, and it goes on; 130, 143 stopped.
# A second job for a commit waits for the same evaluation; one that has failed is made anew. When the job is stopped, what
# it made is deleted, and the GPU is free. Results stay at the output in any case. Needs kubectl and kubectl-asrtune.
set -eu

namespace='' timeout=7200 summary='' delete='' made='' waiting=''

could_not() {
  echo "asr-gate: $1" >&2
  if [ -n "$summary" ]; then
    printf '### ASR evaluation: could not be made or followed\n\n' >>"$summary"
    printf '%s\n' "$1" | sed 's/^/    /' >>"$summary"
  fi
  exit 3
}

# Any kubectl command; its error is the job's.
ask() {
  kubectl "$@" 2>"$scratch/error" || could_not "kubectl $1: $(cat "$scratch/error")"
}

filled_in() { sed "s/@COMMIT@/$commit/g" "$manifest"; }

there() { ask get asrevaluation "$name" --namespace="$namespace" --ignore-not-found -o 'jsonpath={.metadata.uid}/{.status.phase}'; }

remove() { ask delete asrevaluation "$name" --namespace="$namespace" --ignore-not-found --wait=false >&2; }

# shellcheck disable=SC2329 # the traps call it
stopped() {
  [ -z "$waiting" ] || kill "$waiting" 2>/dev/null || true
  [ -z "$made" ] || remove
  exit "$1"
}

while getopts n:t:s:d option; do
  case $option in
    n) namespace=$OPTARG ;;
    t) timeout=$OPTARG ;;
    s) summary=$OPTARG ;;
    d) delete=yes ;;
    *) could_not "usage: asr-gate.sh [-n NAMESPACE] [-t SECONDS] [-s SUMMARY] [-d] MANIFEST COMMIT" ;;
  esac
done
shift $((OPTIND - 1))
[ $# = 2 ] || could_not "a manifest and a commit are wanted, not $# arguments"
manifest=$1 commit=$2
case $timeout in *[!0-9]* | '') could_not "-t $timeout: whole seconds are wanted" ;; esac
[ -r "$manifest" ] || could_not "there is no manifest $manifest"
case $commit in *[!a-z0-9-]* | '') could_not "\"$commit\" cannot be part of a name: lower-case letters, digits and - only" ;; esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What it is and where it goes; kubectl puts in the namespace.
filled_in >"$scratch/manifest"
about=$(ask create --dry-run=client --validate=false -f - ${namespace:+"--namespace=$namespace"} \
  -o 'jsonpath={.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}' <"$scratch/manifest")
case $about in
  *"
"*) could_not "$manifest holds more than one object: give each ASREvaluation a file of its own" ;;
  ASREvaluation/*/?*) ;;
  *) could_not "$manifest is no ASREvaluation with a name ($about)" ;;
esac
name=${about##*/} namespace=${about#*/} namespace=${namespace%/*}

trap 'stopped 130' INT
trap 'stopped 143' TERM
found=$(there)
case $found in
  */Failed)
    echo "asr-gate: $namespace/$name failed before; it is made anew." >&2
    remove
    while [ -n "$(there)" ]; do sleep 1; done
    found=
    ;;
esac
if [ -z "$found" ]; then
  if refused=$(kubectl create --namespace="$namespace" -f - <"$scratch/manifest" 2>&1); then
    made=yes
  elif [ -z "$(there)" ]; then # another job for the same commit may have been faster
    could_not "$manifest: $refused"
  fi
fi
[ -n "$made" ] || echo "asr-gate: $namespace/$name is there already; waiting for it." >&2

kubectl asrtune wait "evaluation/$name" --namespace="$namespace" --timeout="$timeout" ${summary:+"--summary=$summary"} &
waiting=$!
code=0
wait "$waiting" || code=$?
[ "$code" -le 4 ] || code=3
[ -z "$delete" ] || [ "$code" -gt 2 ] || remove
exit "$code"
