// Streams in C++: ordered steps from M writer ranks to N reader ranks. See dovetail.h.
#pragma once

#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "store.hpp"

namespace dovetail {

// What the producer does when its readers are slower than itself.
struct Policy {
  int kind = DVT_BUFFERED;
  int window = 2;
};
inline Policy lockstep() { return {DVT_LOCKSTEP, 1}; }
inline Policy buffered(int steps) { return {DVT_BUFFERED, steps}; }
inline Policy latest() { return {DVT_LATEST, 1}; }
inline Policy work_queue(int steps) { return {DVT_WORK_QUEUE, steps}; }

// Who takes part in one end: one rank of several, or all ranks of an MPI communicator.
inline dvt_ranks ranks_of(int rank, int size) { return {rank, size, DVT_NO_COMM, 0, nullptr}; }
template <class MpiComm>
dvt_ranks ranks_in(const MpiComm& comm) {
  return {0, 1, DVT_COMM_C, 0, &comm};
}

struct WriterOptions {
  Policy policy = {};
  dvt_ranks ranks = ranks_of(0, 1);
  double timeout = 60;
  int readers = 0;
};
struct ReaderOptions {
  dvt_ranks ranks = ranks_of(0, 1);
  std::string group = {};
  double timeout = 60;
};

// A step under construction. It is published by end(), and given up if it goes before.
class WriteStep {
 public:
  WriteStep(dvt_writer* writer, std::int64_t index) : writer_(writer), index_(index) {}
  WriteStep(WriteStep&& other) noexcept
      : writer_(std::exchange(other.writer_, nullptr)), index_(other.index_) {}
  WriteStep& operator=(WriteStep&&) = delete;
  ~WriteStep() {
    if (writer_ != nullptr) dvt_writer_abandon(writer_);
  }

  std::int64_t index() const { return index_; }
  // One copy, into the step. With a place, the block of a global array.
  template <class Array>
  void put(const std::string& name, const Array& array, Place place = {}) {
    put(Named(name, array, std::move(place)));
  }
  void put(const Named& array) {
    const auto described = array.described();
    detail::check(dvt_writer_put(get(), &described));
  }
  // Room to be filled in place, until the step ends.
  template <class T>
  View<T> empty(const std::string& name, Extents shape, Order order = Order::row_major,
                Place place = {}) {
    const Named room(name, View<T>(nullptr, shape, order), std::move(place));
    auto described = room.described();
    described.strides = nullptr;
    described.order = static_cast<int>(order);
    detail::check(dvt_writer_empty(get(), &described, nullptr));
    return {static_cast<T*>(described.data), std::move(shape), order};
  }
  void end(bool written_to = false) {
    auto* const writer = get();
    writer_ = nullptr;
    detail::check(dvt_writer_end(writer, written_to ? 1 : 0));
  }

 private:
  dvt_writer* get() const {
    if (writer_ != nullptr) return writer_;
    throw TransportClosedError(DVT_CLOSED,
                               "step " + std::to_string(index_) + " has ended: begin another");
  }

  dvt_writer* writer_;
  std::int64_t index_;
};

// The producing end. If it goes while an exception passes, readers see PeerLostError; else the end.
class Writer {
 public:
  explicit Writer(const std::string& url, const WriterOptions& options = {}) {
    detail::check(dvt_writer_open(url.c_str(), options.policy.kind, options.policy.window,
                                  &options.ranks, options.timeout, options.readers, &handle_));
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (!is_closed_) dvt_writer_close(handle_, std::uncaught_exceptions() > exceptions_ ? 1 : 0);
  }

  // Waits while the policy holds the producer back. `attrs` is a JSON object.
  WriteStep begin(const std::string& attrs = "") {
    std::int64_t index = 0;
    detail::check(dvt_writer_begin(handle_, detail::text_or_null(attrs), &index));
    return {handle_, index};
  }
  bool stopped() const {
    int stopped = 0;
    detail::check(dvt_writer_stopped(handle_, &stopped));
    return stopped != 0;
  }
  dvt_stream_statistics statistics() const {
    dvt_stream_statistics numbers;
    detail::check(dvt_writer_get_statistics(handle_, &numbers));
    return numbers;
  }
  dvt_stream_info info() const {
    dvt_stream_info info;
    detail::check(dvt_writer_get_info(handle_, &info));
    return info;
  }
  void close(bool failed = false) {
    if (is_closed_) return;
    is_closed_ = true;
    detail::check(dvt_writer_close(handle_, failed ? 1 : 0));
  }
  dvt_writer* handle() const { return handle_; }

 private:
  dvt_writer* handle_ = nullptr;
  bool is_closed_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

// A complete step in hand: read-only views that stay valid while it lives.
class Step {
 public:
  explicit Step(dvt_step* handle) : handle_(handle) {}

  std::int64_t index() const {
    std::int64_t index = 0;
    detail::check(dvt_step_index(get(), &index));
    return index;
  }
  double time() const {
    double seconds = 0;
    detail::check(dvt_step_time(get(), &seconds));
    return seconds;
  }
  std::string attrs() const {  // JSON
    const char* json = nullptr;
    detail::check(dvt_step_attrs(get(), &json));
    return json;
  }
  int count() const {
    int count = 0;
    detail::check(dvt_step_count(get(), &count));
    return count;
  }
  dvt_array described(int index) const {
    dvt_array array;
    detail::check(dvt_step_array(get(), index, &array));
    return array;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (int i = 0; i < count(); ++i) names.emplace_back(described(i).name);
    return names;
  }
  // The whole global array: no copy if it lies in one block.
  template <class T>
  View<const T> array(const std::string& name) const& {
    return detail::view_of<const T>(described(name, nullptr, nullptr));
  }
  template <class T>
  View<const T> array(const std::string& name) const&& = delete;  // keep the step
  // A selection of it.
  template <class T>
  View<const T> array(const std::string& name, const Extents& start, const Extents& count) const& {
    return detail::view_of<const T>(described(name, start.data(), count.data()));
  }
  dvt_array described(const std::string& name, const std::int64_t* start,
                      const std::int64_t* count) const {
    dvt_array array;
    detail::check(dvt_step_view(get(), name.c_str(), start, count, &array));
    return array;
  }
  // Copies a selection that begins at `start` and has the shape of `into`, in whatever order.
  template <class T>
  void read(const std::string& name, const View<T>& into, const Extents& start = {}) const {
    const Named named(name, into);
    const auto array = named.described();
    detail::check(dvt_step_read(get(), &array, start.empty() ? nullptr : start.data()));
  }
  void end() { detail::check(dvt_step_end(get())); }  // views stay valid

 private:
  dvt_step* get() const { return handle_.get(); }
  detail::Owned<dvt_step, dvt_step_close> handle_;
};

// The consuming end: for (const auto& step : reader) { … }
class Reader {
 public:
  explicit Reader(const std::string& url, const ReaderOptions& options = {}) {
    detail::check(dvt_reader_open(url.c_str(), &options.ranks, detail::text_or_null(options.group),
                                  options.timeout, &handle_));
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (!is_closed_) dvt_reader_close(handle_, std::uncaught_exceptions() > exceptions_ ? 1 : 0);
  }

  // Ends the step before; nothing at the end of the stream.
  std::optional<Step> next(double timeout = DVT_AS_OPENED) {
    dvt_step* step = nullptr;
    if (detail::check(dvt_reader_next(handle_, timeout, &step)) == DVT_END) return std::nullopt;
    return Step(step);
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Step;
    using difference_type = std::ptrdiff_t;
    using pointer = Step*;
    using reference = Step&;

    Iterator() = default;
    explicit Iterator(Reader& reader) : reader_(&reader) { ++*this; }
    Step& operator*() { return *step_; }
    Step* operator->() { return &*step_; }
    Iterator& operator++() {
      step_.reset();
      step_ = reader_->next();
      if (!step_) reader_ = nullptr;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return reader_ != other.reader_; }
    bool operator==(const Iterator& other) const { return reader_ == other.reader_; }

   private:
    Reader* reader_ = nullptr;
    std::optional<Step> step_;
  };
  Iterator begin() { return Iterator(*this); }
  Iterator end() { return {}; }

  dvt_stream_statistics statistics() const {
    dvt_stream_statistics numbers;
    detail::check(dvt_reader_get_statistics(handle_, &numbers));
    return numbers;
  }
  dvt_stream_info info() const {
    dvt_stream_info info;
    detail::check(dvt_reader_get_info(handle_, &info));
    return info;
  }
  void stop() { detail::check(dvt_reader_stop(handle_)); }
  void close(bool failed = false) {
    if (is_closed_) return;
    is_closed_ = true;
    detail::check(dvt_reader_close(handle_, failed ? 1 : 0));
  }

 private:
  dvt_reader* handle_ = nullptr;
  bool is_closed_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

// Follows a stream's newest steps without taking part.
class Tail {
 public:
  explicit Tail(const std::string& url) {
    dvt_tail* handle = nullptr;
    detail::check(dvt_tail_open(url.c_str(), &handle));
    handle_.reset(handle);
  }
  std::optional<Step> next(double timeout = for_ever) {
    dvt_step* step = nullptr;
    if (detail::check(dvt_tail_next(handle_.get(), timeout, &step)) == DVT_END) return std::nullopt;
    return Step(step);
  }

 private:
  detail::Owned<dvt_tail, dvt_tail_close> handle_;
};

inline dvt_stream_description describe_stream(const std::string& url) {
  dvt_stream_description description;
  detail::check(dvt_stream_describe(url.c_str(), &description));
  return description;
}
inline void destroy_stream(const std::string& url) {
  detail::check(dvt_stream_destroy(url.c_str()));
}

}  // namespace dovetail
