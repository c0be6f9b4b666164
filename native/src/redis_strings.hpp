// Values as strings on the servers: whole, or in chunks that a manifest stands for.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memory.hpp"
#include "posix.hpp"
#include "redis_questions.hpp"

namespace dovetail::redis {

// A value as safetensors, in parts that lie where they lay.
struct Whole {
  std::string version;
  std::uint64_t nbytes = 0;
  std::vector<iovec> parts;
};

// The beginning of a stored value, its whole header at least.
struct Head {
  std::string prefix;
  std::uint64_t nbytes = 0;  // of the whole value
};

class Strings {
 public:
  // `chunk`: a longer value is cut into pieces of so many bytes.
  Strings(Questions& questions, std::uint64_t chunk)
      : questions_(questions), chunk_(chunk), handle_(random_name()) {}

  std::string new_version();  // a token that no other value has

  // Publishes a value: one transaction, or many chunks and then a manifest.
  void write(const std::string& key, const Whole& value);
  // Nothing if there is none. Throws Error(Status::corrupt).
  std::shared_ptr<Memory> read(const std::string& key);
  std::optional<Head> read_head(const std::string& key);
  bool exists(const std::string& key);
  bool remove(const std::string& key);                            // whether there was one
  bool move(const std::string& key, const std::string& new_key);  // the two differ

 private:
  void write_whole(const std::string& key, const Whole& value);
  void write_in_chunks(const std::string& key, const Whole& value);
  std::shared_ptr<Memory> whole_of(const std::string& key, std::string_view string);
  std::shared_ptr<Memory> from_chunks(const std::string& key, const Manifest& manifest);
  bool all_there(const std::string& key, const Manifest& manifest);
  std::optional<Manifest> manifest_in(const std::string& key, std::string_view string);
  std::optional<Head> head_of(const std::string& key, const std::string& name,
                              std::optional<std::uint64_t> nbytes);
  bool move_across(const std::string& key, const std::string& new_key);
  const char* publish() const { return questions_.route->sharded_news ? "SPUBLISH" : "PUBLISH"; }

  Questions& questions_;
  const std::uint64_t chunk_;
  const std::string handle_;
  std::atomic<std::uint64_t> clock_{0};
};

// Whether a string that begins so, with its first 72 bytes, was written by this library.
bool is_ours(std::string_view beginning);

}  // namespace dovetail::redis
