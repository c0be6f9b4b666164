// The headers that were read lately: values of one kind differ in nothing but their version.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "safetensors.hpp"

namespace dovetail {

// A header as many values may share it, and the version of one of them.
struct ReadHeader {
  std::shared_ptr<const Header> shared;  // its own version is empty
  std::string version;
};

class HeaderCache {
 public:
  // As parse_header(), whose checks a header passed that is found here. From any thread.
  ReadHeader read(const std::uint8_t* bytes, std::uint64_t size);

 private:
  std::shared_ptr<const Header> find(const char* text, std::uint64_t end, std::uint64_t size);
  void keep(const char* text, std::uint64_t end, std::uint64_t size,
            const std::shared_ptr<Header>& header);

  struct Known {
    std::string bytes;
    std::uint64_t size = 0;  // of the whole value
    std::shared_ptr<const Header> header;
  };
  std::mutex mutex_;
  std::vector<Known> known_;
  std::size_t next_ = 0;
};

}  // namespace dovetail
