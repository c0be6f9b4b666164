// URLs: which engine moves the data, where, and with which options. As Python reads them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dovetail {

struct Url {
  std::string scheme, location;
  std::vector<std::pair<std::string, std::string>> options;

  std::string text() const;
  const std::string* option(std::string_view name) const;
  // Throws Error(Status::invalid_url) for an option that is not among these.
  void only(std::initializer_list<const char*> known) const;
  // "2GiB"; nothing if it is not given.
  std::optional<std::uint64_t> bytes_option(const char* name) const;
  // One of `choices`; the first is the default.
  std::string choice_option(const char* name, std::initializer_list<const char*> choices) const;
  Url without(std::string_view name) const;
};

enum class Purpose { store, stream };

// A URL, or a bare name that the environment translates: DOVETAIL_STORE_<NAME> or
// DOVETAIL_STREAM_<NAME>. Throws Error(Status::invalid_url), or Status::unavailable for an engine
// that only Python reaches.
Url parse_url(const std::string& text, Purpose purpose);

// Text in which %41 stands for A.
std::string percent_decoded(std::string_view text);

// Where a store or a stream of the local engine lies. Throws Error(Status::invalid_url), or
// Status::unavailable if there is no shared memory.
std::string folder_of(const Url& url, Purpose purpose);

// Where this user's part of the shared memory is. Throws Error(Status::unavailable).
std::string shared_memory_folder();

}  // namespace dovetail
