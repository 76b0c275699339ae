"""The report: one HTML file that shows what a run did, how good the result is, and where it errs."""
