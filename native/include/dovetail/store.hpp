// Stores in C++: keyed values that can be read again. See dovetail.h for what each promises.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "view.hpp"

namespace dovetail {

constexpr double for_ever = DVT_FOR_EVER;

namespace detail {

template <class Handle, int (*close)(Handle*)>
struct Closer {
  void operator()(Handle* handle) const { close(handle); }
};
template <class Handle, int (*close)(Handle*)>
using Owned = std::unique_ptr<Handle, Closer<Handle, close>>;

inline const char* text_or_null(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

inline std::vector<dvt_array> described(const std::vector<Named>& arrays) {
  std::vector<dvt_array> all;
  for (const auto& array : arrays) all.push_back(array.described());
  return all;
}

inline std::vector<std::string> take_texts(dvt_texts* handle) {
  const Owned<dvt_texts, dvt_texts_close> texts(handle);
  std::vector<std::string> list;
  const auto count = dvt_texts_count(handle);
  for (std::int64_t i = 0; i < count; ++i) list.emplace_back(dvt_texts_at(handle, i));
  return list;
}

}  // namespace detail

// A value in hand: read-only views that stay valid, and never change, while it lives.
class Value {
 public:
  explicit Value(dvt_value* handle) : handle_(handle) {}

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (int i = 0; i < count(); ++i) names.emplace_back(described(i).name);
    return names;
  }
  int count() const {
    int count = 0;
    detail::check(dvt_value_count(get(), &count));
    return count;
  }
  // No copy. The dtype must be that of T.
  template <class T>
  View<const T> array(const std::string& name = "value") const& {
    return detail::view_of<const T>(described(name));
  }
  template <class T>
  View<const T> array(const std::string& name = "value") const&& = delete;  // keep the value
  // Copies into memory of this shape, in whatever order; the value's only array without a name.
  template <class T>
  void read(const View<T>& into, const std::optional<std::string>& name = {}) const {
    const Named named(name.value_or(""), into);
    auto array = named.described();
    if (!name) array.name = nullptr;
    detail::check(dvt_value_read(get(), &array));
  }
  dvt_array described(const std::string& name) const {
    dvt_array array;
    detail::check(dvt_value_find(get(), name.c_str(), &array));
    return array;
  }
  dvt_array described(int index) const {
    dvt_array array;
    detail::check(dvt_value_array(get(), index, &array));
    return array;
  }
  std::string attrs() const { return text(dvt_value_attrs); }  // JSON
  std::string version() const { return text(dvt_value_version); }
  std::int64_t nbytes() const {
    std::int64_t nbytes = 0;
    detail::check(dvt_value_nbytes(get(), &nbytes));
    return nbytes;
  }
  double time() const {
    double seconds = 0;
    detail::check(dvt_value_time(get(), &seconds));
    return seconds;
  }

 private:
  dvt_value* get() const { return handle_.get(); }
  std::string text(int (*of)(dvt_value*, const char**)) const {
    const char* text = nullptr;
    detail::check(of(get(), &text));
    return text;
  }
  detail::Owned<dvt_value, dvt_value_close> handle_;
};

// Room for a value, filled in place; given up unless it is committed.
class Reservation {
 public:
  explicit Reservation(dvt_reservation* handle) : handle_(handle) {}

  template <class T>
  View<T> array(const std::string& name = "value") const {
    return detail::view_of<T>(described(name));
  }
  dvt_array described(const std::string& name) const {
    dvt_array array;
    detail::check(dvt_reservation_array(handle_.get(), name.c_str(), &array));
    return array;
  }
  // Publishes; returns the version. What is still written to afterwards needs `written_to`.
  std::string commit(bool written_to = false) {
    char version[DVT_VERSION_BYTES];
    detail::check(dvt_reservation_commit(handle_.get(), written_to ? 1 : 0, version));
    return version;
  }

 private:
  detail::Owned<dvt_reservation, dvt_reservation_close> handle_;
};

// An array to make room for.
template <class T>
Named room(std::string name, Extents shape, Order order = Order::row_major) {
  return {std::move(name), View<T>(nullptr, std::move(shape), order)};
}

class Store {
 public:
  // `timeout`: for reaching a server, and how long it may be silent or gone in each call.
  explicit Store(const std::string& url, double timeout = 60) {
    dvt_store* handle = nullptr;
    detail::check(dvt_store_open_within(url.c_str(), timeout, &handle));
    handle_.reset(handle);
  }

  // A bare array, under the name "value". `attrs` is a JSON object.
  template <class T>
  std::string put(const std::string& key, const View<T>& array, const std::string& attrs = "") {
    return put_all(key, {Named("value", array)}, attrs);
  }
  template <class Sequence, class = detail::element_in_t<Sequence>>
  std::string put(const std::string& key, Sequence&& array, const std::string& attrs = "") {
    return put(key, View<detail::element_in_t<Sequence>>(array), attrs);
  }
  std::string put_all(const std::string& key, const std::vector<Named>& arrays,
                      const std::string& attrs = "") {
    char version[DVT_VERSION_BYTES];
    const auto all = detail::described(arrays);
    detail::check(dvt_store_put(get(), key.c_str(), all.data(), static_cast<int>(all.size()),
                                detail::text_or_null(attrs), version));
    return version;
  }
  // Room as room<double>("u", {ny, nx}) says.
  Reservation reserve(const std::string& key, const std::vector<Named>& rooms,
                      const std::string& attrs = "") {
    dvt_reservation* handle = nullptr;
    auto all = detail::described(rooms);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool column_major = all[i].rank > 1 && all[i].strides[0] < all[i].strides[1];
      all[i].order = column_major ? DVT_COLUMN_MAJOR : DVT_ROW_MAJOR;
    }
    detail::check(dvt_store_reserve(get(), key.c_str(), all.data(), static_cast<int>(all.size()),
                                    detail::text_or_null(attrs), &handle));
    return Reservation(handle);
  }

  Value get(const std::string& key) {
    dvt_value* handle = nullptr;
    detail::check(dvt_store_get(get(), key.c_str(), &handle));
    return Value(handle);
  }
  // Blocks until the key exists, or holds another version than `newer_than`.
  Value wait(const std::string& key, double timeout,
             const std::optional<std::string>& newer_than = {}) {
    dvt_value* handle = nullptr;
    detail::check(dvt_store_wait(get(), key.c_str(), timeout,
                                 newer_than ? newer_than->c_str() : nullptr, &handle));
    return Value(handle);
  }
  Value stat(const std::string& key) {  // without data
    dvt_value* handle = nullptr;
    detail::check(dvt_store_stat(get(), key.c_str(), &handle));
    return Value(handle);
  }

  bool exists(const std::string& key) {
    int exists = 0;
    detail::check(dvt_store_exists(get(), key.c_str(), &exists));
    return exists != 0;
  }
  void remove(const std::string& key) { detail::check(dvt_store_delete(get(), key.c_str())); }
  void rename(const std::string& key, const std::string& new_key) {
    detail::check(dvt_store_rename(get(), key.c_str(), new_key.c_str()));
  }
  std::vector<std::string> keys(const std::string& prefix = "") {
    dvt_texts* texts = nullptr;
    detail::check(dvt_store_keys(get(), prefix.c_str(), &texts));
    return detail::take_texts(texts);
  }

  std::int64_t append(const std::string& list, const std::string& key) {
    std::int64_t position = 0;
    detail::check(dvt_store_append(get(), list.c_str(), key.c_str(), &position));
    return position;
  }
  std::vector<std::string> items(const std::string& list, std::int64_t start = 0) {
    dvt_texts* texts = nullptr;
    detail::check(dvt_store_items(get(), list.c_str(), start, &texts));
    return detail::take_texts(texts);
  }
  std::vector<std::string> wait_items(const std::string& list, std::int64_t count, double timeout,
                                      std::int64_t start = 0) {
    dvt_texts* texts = nullptr;
    detail::check(dvt_store_wait_items(get(), list.c_str(), count, start, timeout, &texts));
    return detail::take_texts(texts);
  }
  void remove_list(const std::string& list) {
    detail::check(dvt_store_remove_list(get(), list.c_str()));
  }

  Store scope(const std::string& prefix) {
    dvt_store* handle = nullptr;
    detail::check(dvt_store_scope(get(), prefix.c_str(), &handle));
    return Store(handle);
  }
  dvt_store_statistics statistics() {
    dvt_store_statistics numbers;
    detail::check(dvt_store_get_statistics(get(), &numbers));
    return numbers;
  }
  dvt_store* handle() const { return get(); }  // for calls of C; it stays this object's
  std::string url() const { return text(dvt_store_url); }
  std::string path() const { return text(dvt_store_path); }
  void flush() { detail::check(dvt_store_flush(get())); }
  void close() { detail::check(dvt_store_close(get())), closed_ = handle_.release(); }
  void destroy() { detail::check(dvt_store_destroy(get())), closed_ = handle_.release(); }

 private:
  explicit Store(dvt_store* handle) : handle_(handle) {}
  // A closed handle is never used again: what is asked of it says so.
  dvt_store* get() const { return handle_ ? handle_.get() : closed_; }
  std::string text(int (*of)(dvt_store*, const char**)) const {
    const char* text = nullptr;
    detail::check(of(get(), &text));
    return text;
  }

  detail::Owned<dvt_store, dvt_store_close> handle_;
  dvt_store* closed_ = nullptr;
};

}  // namespace dovetail
