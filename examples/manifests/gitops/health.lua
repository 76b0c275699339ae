-- Health of an ASRFinetune or an ASREvaluation for Argo CD. Only the language: Argo CD gives health checks no libraries.
local status = obj.status or {}

local function condition(type)
  for _, one in ipairs(status.conditions or {}) do
    if one.type == type then return one end
  end
  return {}
end

local running = condition("Running").message or "Waiting for the operator."
-- What is written about an older spec says nothing about this one.
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator."}
end
if status.phase == "Failed" then
  local failed = condition("Failed")
  return {status = "Degraded", message = (failed.reason or "Failed") .. ": " .. (failed.message or "")}
end
if status.phase == "Suspended" then
  return {status = "Suspended", message = condition("Suspended").message or ""}
end
if status.phase == "Succeeded" then
  local gate = condition("QualityGatePassed")
  if gate.status ~= nil and gate.status ~= "True" then
    return {status = "Degraded", message = "The quality gate has not passed. " .. (gate.message or "")}
  end
  return {status = "Healthy", message = condition("Complete").message or ""}
end
return {status = "Progressing", message = running}
