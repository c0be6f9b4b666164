// What callers hold: numbers that look like pointers, each used once. So a handle that was closed,
// or never was one, is refused and never followed.
#pragma once

#include <memory>

#include "error.hpp"

namespace dovetail::abi {

enum class Kind { store, value, reservation, texts, writer, reader, step, lease, tail, model };

void* add_handle(Kind kind, std::shared_ptr<void> object);
// Throws Error(Status::argument) for NULL and for a handle of another kind, and
// Error(Status::closed) for one that is open no more.
std::shared_ptr<void> find_handle(Kind kind, const void* handle);
std::shared_ptr<void> take_handle(Kind kind, const void* handle);

// Object names its kind and the type of its handle: Object::kind, Object::Handle.
template <class Object>
std::shared_ptr<Object> object_of(const typename Object::Handle* handle) {
  return std::static_pointer_cast<Object>(find_handle(Object::kind, handle));
}
template <class Object>
std::shared_ptr<Object> take_object(const typename Object::Handle* handle) {
  return std::static_pointer_cast<Object>(take_handle(Object::kind, handle));
}
template <class Object>
typename Object::Handle* handle_of(std::shared_ptr<Object> object) {
  return static_cast<typename Object::Handle*>(add_handle(Object::kind, std::move(object)));
}

}  // namespace dovetail::abi
