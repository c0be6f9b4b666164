// The names of things on a server, and what a manifest says: docs/engines/redis-key-layout.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dovetail::redis {

constexpr int slot_count = 16384;  // of a cluster

// What the keys of one store are called.
class Names {
 public:
  explicit Names(const std::string& name) : tag_("{" + name) {}

  std::string value(const std::string& key) const { return "dv:" + tagged(key); }
  // What the chunks of a value begin with; version, ":" and number follow.
  std::string chunks(const std::string& key) const { return "dv.chunk:" + tagged(key) + ":"; }
  std::string chunk(const std::string& key, const std::string& version, std::uint64_t i) const {
    return chunks(key) + version + ":" + std::to_string(i);
  }
  std::string items(const std::string& list) const { return "dv.list:" + tagged(list); }
  std::string receipt(const std::string& list, const std::string& sender) const {
    return "dv.receipt:" + tagged(list) + ":" + sender;
  }
  std::string news(const std::string& key) const { return "dv.news:" + tagged(key); }

  // A pattern for the values whose keys begin so.
  std::string values_like(const std::string& prefix) const;
  // Patterns for all keys of the store but its values.
  std::vector<std::string> all_but_values() const;
  // The key of a value from its name; nothing for what has no such name.
  std::optional<std::string> key_of(std::string_view name) const;

 private:
  std::string tagged(const std::string& key) const { return tag_ + ":" + key + "}"; }

  const std::string tag_;
};

// The hash slot in which a cluster keeps a key.
int slot_of(std::string_view name);

// What stands for a value that lies in chunks.
struct Manifest {
  static constexpr std::size_t bytes = 72;
  static constexpr std::string_view magic = "DVCHUNKS";
  static constexpr std::uint64_t most_chunks = 65536;

  std::string version;
  std::uint64_t nbytes = 0, chunk = 0;

  std::uint64_t count() const { return (nbytes - 1) / chunk + 1; }
  std::string text() const;
  // The manifest that a string is; nothing if it is something else. Throws Error(Status::corrupt)
  // for what begins as one and is none.
  static std::optional<Manifest> read(std::string_view string);
};

}  // namespace dovetail::redis
