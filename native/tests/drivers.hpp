// What the drivers share: values that prove themselves, a folder that goes away, threads that
// must not fail.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "safetensors.hpp"

namespace drivers {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

// A folder in memory, removed with all that is in it.
class Folder {
 public:
  Folder() {
    char name[] = "/dev/shm/dovetail-driver-XXXXXX";
    require(mkdtemp(name) != nullptr, "a folder can be made");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs every task in a thread of its own; an exception in any ends the driver.
inline void run_together(const std::vector<std::function<void()>>& tasks) {
  std::vector<std::thread> threads;
  for (const auto& task : tasks) {
    threads.emplace_back([&task] {
      try {
        task();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "a thread failed: %s\n", error.what());
        std::abort();
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

// An array filled with one number.
inline std::vector<std::uint64_t> filled(std::uint64_t number, std::size_t count) {
  return std::vector<std::uint64_t>(count, number);
}

inline dovetail::Piece piece(const char* name, const std::vector<std::uint64_t>& array) {
  dovetail::Piece made;
  made.name = name;
  made.dtype = "U64";
  made.shape = {array.size()};
  made.data = array.data();
  made.nbytes = array.size() * sizeof(std::uint64_t);
  return made;
}

// The number that a value's only array is filled with; `count` numbers must be there.
inline std::uint64_t number_in(const std::uint8_t* bytes, const dovetail::Header& header,
                               std::size_t count) {
  require(header.entries.size() == 1, "the value has one array");
  const auto& entry = header.entries.front();
  require(entry.nbytes == count * sizeof(std::uint64_t), "the array has its size");
  const auto* numbers = reinterpret_cast<const std::uint64_t*>(bytes + entry.offset);
  for (std::size_t i = 1; i < count; ++i) require(numbers[i] == numbers[0], "nothing is torn");
  return numbers[0];
}

inline void never_interrupt() {}

}  // namespace drivers
