// What the handles of stores and values stand for.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dovetail/dovetail.h"
#include "handles.hpp"
#include "store.hpp"
#include "variables.hpp"

namespace dovetail::abi {

struct OpenStore {
  const std::string url, label;  // the label is for messages
  const std::string path;        // empty where no folder holds the values
  const std::unique_ptr<Store> core;
  std::atomic<bool> is_closed{false};
};

// The store that a URL stands for, whichever keeps its values. `timeout`: as for
// dvt_store_open_within.
std::shared_ptr<OpenStore> open_store(const std::string& url, double timeout);

// A store, or a view of one in which every name begins with a prefix.
struct StoreView {
  static constexpr Kind kind = Kind::store;
  using Handle = dvt_store;

  Store& core() const;  // throws Error(Status::closed) once the store that was opened is closed

  std::shared_ptr<OpenStore> store;
  std::string prefix;
  bool is_scope = false;
};

struct ValueInHand {
  static constexpr Kind kind = Kind::value;
  using Handle = dvt_value;

  explicit ValueInHand(Value taken);
  const std::uint8_t* data() const { return value.memory ? value.memory->data() : nullptr; }
  const Variable& find(const char* name) const;
  const std::string& attrs();
  std::uint64_t data_bytes() const;

  const Value value;
  const std::vector<Variable> variables;

 private:
  std::once_flag attrs_read_;
  std::string attrs_;
};

struct ReservedRoom {
  static constexpr Kind kind = Kind::reservation;
  using Handle = dvt_reservation;

  ReservedRoom(std::shared_ptr<OpenStore> store, std::unique_ptr<Reservation> reservation,
               std::vector<Variable> variables, std::string key);
  ~ReservedRoom();

  std::mutex mutex;
  const std::shared_ptr<OpenStore> store;
  const std::unique_ptr<Reservation> reservation;
  const std::shared_ptr<Memory> memory;
  const std::vector<Variable> variables;
  const std::string key;
  bool is_committed = false;
};

struct Texts {
  static constexpr Kind kind = Kind::texts;
  using Handle = dvt_texts;

  std::vector<std::string> texts;
};

// Which of several is called so; throws Error(Status::key_not_found) that names what there is.
const Variable& variable_named(const std::vector<Variable>& variables, const std::string& name);

}  // namespace dovetail::abi
