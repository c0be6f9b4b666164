#include "handles.hpp"

#include <pthread.h>

#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <unordered_map>

namespace dovetail::abi {
namespace {

constexpr const char* names[] = {"store",  "value", "reservation", "list of texts", "writer",
                                 "reader", "step",  "lease",       "tail",          "model"};

struct Open {
  Kind kind;
  std::shared_ptr<void> object;
};

class Table {
 public:
  // Never destroyed: handles may be closed while the process ends.
  static Table& only() {
    static Table& table = *new Table;
    return table;
  }

  void* add(Kind kind, std::shared_ptr<void> object) {
    const std::unique_lock lock(mutex_);
    const auto number = ++last_;
    open_.emplace(number, Open{kind, std::move(object)});
    return handle_with(kind, number);
  }

  std::shared_ptr<void> find(Kind kind, const void* handle) {
    const auto number = number_in(kind, handle);
    const std::shared_lock lock(mutex_);
    const auto found = open_.find(number);
    if (found == open_.end() || found->second.kind != kind) throw_closed(kind, number);
    return found->second.object;
  }

  std::shared_ptr<void> take(Kind kind, const void* handle) {
    const auto number = number_in(kind, handle);
    const std::unique_lock lock(mutex_);
    const auto found = open_.find(number);
    if (found == open_.end() || found->second.kind != kind) throw_closed(kind, number);
    auto object = std::move(found->second.object);
    open_.erase(found);
    return object;
  }

 private:
  Table() {
    // The lock knows its thread by a number that a child's thread has not: it gets a new one.
    pthread_atfork([] { only().mutex_.lock(); }, [] { only().mutex_.unlock(); },
                   [] { new (&only().mutex_) std::shared_mutex; });
  }

  // The lowest bits are odd, as those of no pointer to an object; then the kind.
  static void* handle_with(Kind kind, std::uintptr_t number) {
    const auto bits = number << 8 | static_cast<std::uintptr_t>(kind) << 4 | 0xB;
    return reinterpret_cast<void*>(bits);
  }

  static std::uintptr_t number_in(Kind kind, const void* handle) {
    const auto bits = reinterpret_cast<std::uintptr_t>(handle);
    const auto* const wanted = names[static_cast<int>(kind)];
    if (handle == nullptr) {
      throw Error(Status::argument,
                  std::string("the handle of a ") + wanted + " is needed, not NULL");
    }
    const auto other = bits >> 4 & 0xF;
    if ((bits & 0xF) != 0xB || other >= std::size(names)) {
      throw Error(Status::argument,
                  std::string("what was given is no handle of this library; that of a ") + wanted +
                      " is needed");
    }
    if (other != static_cast<std::uintptr_t>(kind)) {
      throw Error(Status::argument,
                  std::string("the handle is that of a ") + names[other] + ", not of a " + wanted);
    }
    return bits >> 8;
  }

  [[noreturn]] void throw_closed(Kind kind, std::uintptr_t number) {
    const std::string name = names[static_cast<int>(kind)];
    if (number == 0 || number > last_)
      throw Error(Status::argument, "there never was such a " + name);
    throw Error(Status::closed, "the " + name + " is closed");
  }

  std::shared_mutex mutex_;
  std::uintptr_t last_ = 0;
  std::unordered_map<std::uintptr_t, Open> open_;
};

}  // namespace

void* add_handle(Kind kind, std::shared_ptr<void> object) {
  return Table::only().add(kind, std::move(object));
}
std::shared_ptr<void> find_handle(Kind kind, const void* handle) {
  return Table::only().find(kind, handle);
}
std::shared_ptr<void> take_handle(Kind kind, const void* handle) {
  return Table::only().take(kind, handle);
}

}  // namespace dovetail::abi
