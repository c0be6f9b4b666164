// What a server does in one go: the scripts of docs/engines/redis-key-layout.md, word for word.
#pragma once

#include <string>

// Never destroyed: stores may be used while the process ends.
namespace dovetail::redis::scripts {

inline const std::string& shared = *new std::string(R"(local MOST = 65536
local function chunks(key, prefix)
  local head = redis.pcall('GETRANGE', key, 0, 71)
  if type(head) ~= 'string' or string.sub(head, 1, 8) ~= 'DVCHUNKS' then return {} end
  local nbytes = tonumber(string.sub(head, 41, 56), 16)
  local each = tonumber(string.sub(head, 57, 72), 16)
  if not nbytes or not each or each < 1 or nbytes > each * MOST then return {} end
  local names = {}
  for i = 0, math.ceil(nbytes / each) - 1 do
    names[i + 1] = prefix .. string.sub(head, 9, 40) .. ':' .. i
  end
  return names
end
local function forget(key, prefix)
  for _, name in ipairs(chunks(key, prefix)) do redis.call('UNLINK', name) end
end
)");

// KEYS: value. ARGV: prefix of its chunks.
inline const std::string& forget =
    *new std::string(R"(if redis.pcall('GETRANGE', KEYS[1], 0, 7) ~= 'DVCHUNKS' then return end
)" + shared + R"(forget(KEYS[1], ARGV[1])
)");

// KEYS: value, chunks. ARGV: prefix, manifest, PUBLISH or SPUBLISH, channel, version.
inline const std::string& publish = *new std::string(
    shared +
    R"(if redis.pcall('GETRANGE', KEYS[1], 0, 71) == ARGV[2] then return redis.status_reply('OK') end
for i = 2, #KEYS do
  if redis.call('PERSIST', KEYS[i]) == 0 then return redis.error_reply('LATE chunk expired') end
end
forget(KEYS[1], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
redis.call(ARGV[3], ARGV[4], ARGV[5])
return redis.status_reply('OK')
)");

// KEYS: value. ARGV: prefix of its chunks. The reply: 1 if there was a value.
inline const std::string& remove = *new std::string(shared + R"(forget(KEYS[1], ARGV[1])
return redis.call('UNLINK', KEYS[1])
)");

// KEYS: value. ARGV: prefix, its length, its beginning. The reply: 0 if it is another one now.
inline const std::string& remove_if =
    *new std::string(shared + R"(if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
if redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[2]) then return 0 end
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[3] - 1) ~= ARGV[3] then return 0 end
forget(KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[1])
return 1
)");

// KEYS: value, its new name. ARGV: prefix, new prefix, PUBLISH or SPUBLISH, channel.
inline const std::string& move =
    *new std::string(shared + R"(if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
forget(KEYS[2], ARGV[2])
for _, name in ipairs(chunks(KEYS[1], ARGV[1])) do
  redis.call('RENAME', name, ARGV[2] .. string.sub(name, #ARGV[1] + 1))
end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call(ARGV[3], ARGV[4], '')
return 1
)");

// KEYS: list, receipt. ARGV: item, number, seconds. The reply: the position of the item.
inline const std::string& append =
    *new std::string(R"(local function id(position) return string.format('%.0f-0', position + 1) end
local function reply(position)
  if not ARGV[4] then return position end
  local items = {position}
  local entries = redis.call('XRANGE', KEYS[1], id(ARGV[4]), id(position), 'COUNT', 1000)
  for i, entry in ipairs(entries) do items[i + 1] = entry[2][2] end
  return items
end
local receipt = redis.call('GET', KEYS[2])
if receipt then
  local number, position = string.match(receipt, '^(%d+) (%d+)$')
  if number == ARGV[2] then return reply(tonumber(position)) end
end
local position = redis.call('XLEN', KEYS[1])
redis.call('XADD', KEYS[1], id(position), 'i', ARGV[1])
redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. string.format('%.0f', position), 'EX', ARGV[3])
return reply(position)
)");

// KEYS: value. ARGV: bytes. The reply: so much of its beginning, and its whole length.
inline const std::string& head = *new std::string(R"(local nbytes = redis.call('STRLEN', KEYS[1])
if nbytes == 0 and redis.call('EXISTS', KEYS[1]) == 0 then return false end
return {redis.call('GETRANGE', KEYS[1], 0, ARGV[1] - 1), nbytes}
)");

}  // namespace dovetail::redis::scripts
