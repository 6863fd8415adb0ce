local health = {status = "Progressing", message = "waiting for the operator"}
local status = obj.status
if obj.metadata.deletionTimestamp ~= nil or status == nil or status.conditions == nil
    or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local ready = found.Ready
if ready == nil then
  return health
end
health.message = ready.reason .. ": " .. ready.message
if ready.reason == "Suspended" or ready.reason == "DryRun" then
  health.status = "Suspended"
elseif ready.status == "True" then
  health.status = "Healthy"
elseif ready.reason == "CopiesFailed" or (found.Stalled ~= nil and found.Stalled.status == "True") then
  health.status = "Degraded"
end
return health
