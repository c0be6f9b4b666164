// The functions of abi.py over the client for C++: each goes through what a C++ program would call,
// views of the element type included.
#include <complex>
#include <deque>
#include <dovetail/dovetail.hpp>
#include <memory>
#include <string>
#include <vector>

using namespace dovetail;

namespace {

thread_local std::string last_error;
thread_local int last_errno = 0;

template <class Body>
int guarded(Body body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return DVT_OK;
    } else {
      return body();
    }
  } catch (const SystemError& error) {
    last_error = error.what();
    last_errno = error.number();
    return error.status();
  } catch (const Error& error) {
    last_error = error.what();
    return error.status();
  } catch (const std::exception& error) {
    last_error = error.what();
    return DVT_INTERNAL;
  }
}

// Calls `body` with a null pointer to the element type.
template <class Body>
auto with_type(int dtype, Body body) {
  switch (dtype) {
    case DVT_BOOL:
      return body(static_cast<bool*>(nullptr));
    case DVT_INT8:
      return body(static_cast<std::int8_t*>(nullptr));
    case DVT_INT16:
      return body(static_cast<std::int16_t*>(nullptr));
    case DVT_INT32:
      return body(static_cast<std::int32_t*>(nullptr));
    case DVT_INT64:
      return body(static_cast<std::int64_t*>(nullptr));
    case DVT_UINT8:
      return body(static_cast<std::uint8_t*>(nullptr));
    case DVT_UINT16:
      return body(static_cast<std::uint16_t*>(nullptr));
    case DVT_UINT32:
      return body(static_cast<std::uint32_t*>(nullptr));
    case DVT_UINT64:
      return body(static_cast<std::uint64_t*>(nullptr));
    case DVT_FLOAT16:
      return body(static_cast<float16*>(nullptr));
    case DVT_BFLOAT16:
      return body(static_cast<bfloat16*>(nullptr));
    case DVT_FLOAT32:
      return body(static_cast<float*>(nullptr));
    case DVT_FLOAT64:
      return body(static_cast<double*>(nullptr));
    case DVT_COMPLEX64:
      return body(static_cast<std::complex<float>*>(nullptr));
    case DVT_COMPLEX128:
      return body(static_cast<std::complex<double>*>(nullptr));
    default:
      throw UnsupportedDataError(DVT_UNSUPPORTED, "no element type of C++ for this dtype");
  }
}

Place place_of(const dvt_array& array) {
  const auto extents = [&](const std::int64_t* numbers) {
    return numbers == nullptr ? Extents() : Extents(numbers, numbers + array.rank);
  };
  return {extents(array.global_shape), extents(array.start)};
}

Named named(const dvt_array& array) {
  return with_type(array.dtype, [&](auto* none) {
    using T = std::remove_pointer_t<decltype(none)>;
    return Named(array.name, detail::view_of<T>(array), place_of(array));
  });
}

std::vector<Named> all_named(const dvt_array* arrays, int count) {
  std::vector<Named> all;
  for (int i = 0; i < count; ++i) all.push_back(named(arrays[i]));
  return all;
}

std::string text_of(const char* text) { return text == nullptr ? "" : text; }

// A view as the adapter takes it; what it points to stays with its owner.
struct Shown {
  std::string name;
  Extents shape, strides;
};
template <class T>
dvt_array show(std::deque<Shown>& kept, const std::string& name, const View<T>& view) {
  kept.push_back({name, view.shape(), view.strides()});
  auto& shown = kept.back();
  for (auto& stride : shown.strides) stride *= static_cast<std::int64_t>(sizeof(T));
  dvt_array array{};
  array.name = shown.name.c_str();
  array.data = const_cast<std::remove_const_t<T>*>(view.data());
  array.dtype = View<T>::dtype;
  array.rank = static_cast<int>(view.rank());
  array.shape = shown.shape.data();
  array.strides = shown.strides.data();
  return array;
}

struct HeldValue {
  Value value;
  std::deque<Shown> shown;
  std::string attrs, version;
};
struct HeldRoom {
  Reservation room;
  std::deque<Shown> shown;
};
struct HeldStep {
  Step step;
  std::deque<Shown> shown;
  std::string attrs;
};
struct OpenStore {
  Store store;
  std::string url, path;
};
struct OpenWriter {
  std::unique_ptr<Writer> writer;
  std::optional<WriteStep> step;
};

// What is closed may be asked once more, to hear that it is closed.
template <class Opened>
Opened* keep(Opened opened) {
  static std::deque<Opened> all;
  all.push_back(std::move(opened));
  return &all.back();
}

template <class Target>
Target& in(void* handle) {
  return *static_cast<Target*>(handle);
}

}  // namespace

extern "C" {

const char* cpp_last_error() { return last_error.c_str(); }
int cpp_last_errno() { return last_errno; }

int cpp_store_open(const char* url, void** store) {
  return guarded([&] { *store = keep(OpenStore{Store(url), {}, {}}); });
}
int cpp_store_open_within(const char* url, double timeout, void** store) {
  return guarded([&] { *store = keep(OpenStore{Store(url, timeout), {}, {}}); });
}
int cpp_store_scope(void* store, const char* prefix, void** scope) {
  return guarded(
      [&] { *scope = keep(OpenStore{in<OpenStore>(store).store.scope(prefix), {}, {}}); });
}
int cpp_store_close(void* store) {
  return guarded([&] { in<OpenStore>(store).store.close(); });
}
int cpp_store_url(void* store, const char** url) {
  return guarded([&] {
    auto& open = in<OpenStore>(store);
    open.url = open.store.url();
    *url = open.url.c_str();
  });
}
int cpp_store_path(void* store, const char** path) {
  return guarded([&] {
    auto& open = in<OpenStore>(store);
    open.path = open.store.path();
    *path = open.path.c_str();
  });
}
int cpp_store_put(void* store, const char* key, const dvt_array* arrays, int count,
                  const char* attrs, char* version) {
  return guarded([&] {
    in<OpenStore>(store)
        .store.put_all(key, all_named(arrays, count), text_of(attrs))
        .copy(version, DVT_VERSION_BYTES - 1);
  });
}
int cpp_store_reserve(void* store, const char* key, const dvt_array* arrays, int count,
                      const char* attrs, void** room) {
  return guarded([&] {
    auto reserved =
        in<OpenStore>(store).store.reserve(key, all_named(arrays, count), text_of(attrs));
    *room = new HeldRoom{std::move(reserved), {}};
  });
}
int cpp_reservation_array(void* room, const char* name, dvt_array* array) {
  return guarded([&] {
    auto& held = in<HeldRoom>(room);
    *array = with_type(held.room.described(name).dtype, [&](auto* none) {
      using T = std::remove_pointer_t<decltype(none)>;
      return show(held.shown, name, held.room.array<T>(name));
    });
  });
}
int cpp_reservation_commit(void* room, int written_to, char* version) {
  return guarded([&] {
    in<HeldRoom>(room).room.commit(written_to != 0).copy(version, DVT_VERSION_BYTES - 1);
  });
}
int cpp_reservation_close(void* room) {
  return guarded([&] { delete static_cast<HeldRoom*>(room); });
}
int cpp_store_get(void* store, const char* key, void** value) {
  return guarded([&] { *value = new HeldValue{in<OpenStore>(store).store.get(key), {}, {}, {}}; });
}
int cpp_store_wait(void* store, const char* key, double timeout, const char* newer_than,
                   void** value) {
  return guarded([&] {
    std::optional<std::string> seen;
    if (newer_than != nullptr) seen = newer_than;
    *value = new HeldValue{in<OpenStore>(store).store.wait(key, timeout, seen), {}, {}, {}};
  });
}
int cpp_store_stat(void* store, const char* key, void** value) {
  return guarded([&] { *value = new HeldValue{in<OpenStore>(store).store.stat(key), {}, {}, {}}; });
}
int cpp_value_count(void* value, int* count) {
  return guarded([&] { *count = in<HeldValue>(value).value.count(); });
}
int cpp_value_array(void* value, int index, dvt_array* array) {
  return guarded([&] {
    auto& held = in<HeldValue>(value);
    const auto described = held.value.described(index);
    const std::string name = described.name;
    *array = with_type(described.dtype, [&](auto* none) {
      using T = std::remove_pointer_t<decltype(none)>;
      return show(held.shown, name, held.value.array<T>(name));
    });
    array->order = described.order;
  });
}
int cpp_value_find(void* value, const char* name, dvt_array* array) {
  return guarded([&] { *array = in<HeldValue>(value).value.described(name); });
}
int cpp_value_read(void* value, const dvt_array* into) {
  return guarded([&] {
    with_type(into->dtype, [&](auto* none) {
      using T = std::remove_pointer_t<decltype(none)>;
      auto array = *into;
      array.name = "";
      std::optional<std::string> name;
      if (into->name != nullptr) name = into->name;
      in<HeldValue>(value).value.read(detail::view_of<T>(array), name);
    });
  });
}
int cpp_value_attrs(void* value, const char** json) {
  return guarded([&] {
    auto& held = in<HeldValue>(value);
    held.attrs = held.value.attrs();
    *json = held.attrs.c_str();
  });
}
int cpp_value_version(void* value, const char** version) {
  return guarded([&] {
    auto& held = in<HeldValue>(value);
    held.version = held.value.version();
    *version = held.version.c_str();
  });
}
int cpp_value_nbytes(void* value, std::int64_t* nbytes) {
  return guarded([&] { *nbytes = in<HeldValue>(value).value.nbytes(); });
}
int cpp_value_time(void* value, double* seconds) {
  return guarded([&] { *seconds = in<HeldValue>(value).value.time(); });
}
int cpp_value_close(void* value) {
  return guarded([&] { delete static_cast<HeldValue*>(value); });
}
int cpp_store_exists(void* store, const char* key, int* exists) {
  return guarded([&] { *exists = in<OpenStore>(store).store.exists(key) ? 1 : 0; });
}
int cpp_store_delete(void* store, const char* key) {
  return guarded([&] { in<OpenStore>(store).store.remove(key); });
}
int cpp_store_rename(void* store, const char* key, const char* new_key) {
  return guarded([&] { in<OpenStore>(store).store.rename(key, new_key); });
}
int cpp_store_keys(void* store, const char* prefix, void** keys) {
  return guarded(
      [&] { *keys = new std::vector<std::string>(in<OpenStore>(store).store.keys(prefix)); });
}
int cpp_store_append(void* store, const char* list, const char* key, std::int64_t* position) {
  return guarded([&] { *position = in<OpenStore>(store).store.append(list, key); });
}
int cpp_store_items(void* store, const char* list, std::int64_t start, void** items) {
  return guarded([&] {
    *items = new std::vector<std::string>(in<OpenStore>(store).store.items(list, start));
  });
}
int cpp_store_wait_items(void* store, const char* list, std::int64_t count, std::int64_t start,
                         double timeout, void** items) {
  return guarded([&] {
    *items = new std::vector<std::string>(
        in<OpenStore>(store).store.wait_items(list, count, timeout, start));
  });
}
int cpp_store_remove_list(void* store, const char* list) {
  return guarded([&] { in<OpenStore>(store).store.remove_list(list); });
}
std::int64_t cpp_texts_count(void* texts) {
  return static_cast<std::int64_t>(in<std::vector<std::string>>(texts).size());
}
const char* cpp_texts_at(void* texts, std::int64_t index) {
  return in<std::vector<std::string>>(texts)[static_cast<std::size_t>(index)].c_str();
}
int cpp_texts_close(void* texts) {
  return guarded([&] { delete static_cast<std::vector<std::string>*>(texts); });
}
int cpp_store_get_statistics(void* store, dvt_store_statistics* numbers) {
  return guarded([&] { *numbers = in<OpenStore>(store).store.statistics(); });
}
int cpp_store_flush(void* store) {
  return guarded([&] { in<OpenStore>(store).store.flush(); });
}
int cpp_store_destroy(void* store) {
  return guarded([&] { in<OpenStore>(store).store.destroy(); });
}

int cpp_writer_open(const char* url, int policy, int window, const dvt_ranks* ranks, double timeout,
                    int readers, void** writer) {
  return guarded([&] {
    WriterOptions options;
    options.policy = {policy, window};
    options.ranks = *ranks;
    options.timeout = timeout;
    options.readers = readers;
    *writer = keep(OpenWriter{std::make_unique<Writer>(url, options), {}});
  });
}
int cpp_writer_begin(void* writer, const char* attrs, std::int64_t* index) {
  return guarded([&] {
    auto& open = in<OpenWriter>(writer);
    auto step = open.writer->begin(text_of(attrs));
    *index = step.index();
    open.step.emplace(std::move(step));
  });
}
int cpp_writer_put(void* writer, const dvt_array* array) {
  return guarded([&] { in<OpenWriter>(writer).step.value().put(named(*array)); });
}
// The header gives no leases: the adapter's arrays outlive the step, and take one from below.
int cpp_writer_empty(void* writer, dvt_array* array, void** lease) {
  return guarded([&] {
    dvt_lease* held = nullptr;
    detail::check(dvt_writer_empty(in<OpenWriter>(writer).writer->handle(), array, &held));
    *lease = held;
  });
}
int cpp_writer_end(void* writer, int written_to) {
  return guarded([&] {
    auto& open = in<OpenWriter>(writer);
    open.step.value().end(written_to != 0);
    open.step.reset();
  });
}
int cpp_writer_abandon(void* writer) {
  return guarded([&] { in<OpenWriter>(writer).step.reset(); });
}
int cpp_writer_stopped(void* writer, int* stopped) {
  return guarded([&] { *stopped = in<OpenWriter>(writer).writer->stopped() ? 1 : 0; });
}
int cpp_writer_close(void* writer, int failed) {
  return guarded([&] { in<OpenWriter>(writer).writer->close(failed != 0); });
}
int cpp_lease_close(void* lease) { return dvt_lease_close(static_cast<dvt_lease*>(lease)); }

int cpp_reader_open(const char* url, const dvt_ranks* ranks, const char* group, double timeout,
                    void** reader) {
  return guarded([&] {
    ReaderOptions options;
    options.ranks = *ranks;
    options.group = text_of(group);
    options.timeout = timeout;
    *reader = keep(std::make_unique<Reader>(url, options));
  });
}
int cpp_reader_next(void* reader, double timeout, void** step) {
  return guarded([&]() -> int {
    auto taken = in<std::unique_ptr<Reader>>(reader)->next(timeout);
    if (!taken) return DVT_END;
    *step = new HeldStep{std::move(*taken), {}, {}};
    return DVT_OK;
  });
}
int cpp_reader_stop(void* reader) {
  return guarded([&] { in<std::unique_ptr<Reader>>(reader)->stop(); });
}
int cpp_reader_close(void* reader, int failed) {
  return guarded([&] { in<std::unique_ptr<Reader>>(reader)->close(failed != 0); });
}
int cpp_step_index(void* step, std::int64_t* index) {
  return guarded([&] { *index = in<HeldStep>(step).step.index(); });
}
int cpp_step_time(void* step, double* seconds) {
  return guarded([&] { *seconds = in<HeldStep>(step).step.time(); });
}
int cpp_step_attrs(void* step, const char** json) {
  return guarded([&] {
    auto& held = in<HeldStep>(step);
    held.attrs = held.step.attrs();
    *json = held.attrs.c_str();
  });
}
int cpp_step_count(void* step, int* count) {
  return guarded([&] { *count = in<HeldStep>(step).step.count(); });
}
int cpp_step_array(void* step, int index, dvt_array* array) {
  return guarded([&] { *array = in<HeldStep>(step).step.described(index); });
}
int cpp_step_view(void* step, const char* name, const std::int64_t* start,
                  const std::int64_t* count, dvt_array* array) {
  return guarded([&] {
    auto& held = in<HeldStep>(step);
    const auto described = held.step.described(std::string(name), start, count);
    *array = with_type(described.dtype, [&](auto* none) {
      using T = std::remove_pointer_t<decltype(none)>;
      if (start == nullptr) return show(held.shown, name, held.step.array<T>(name));
      const Extents first(start, start + described.rank), extent(count, count + described.rank);
      return show(held.shown, name, held.step.array<T>(name, first, extent));
    });
  });
}
int cpp_step_read(void* step, const dvt_array* into, const std::int64_t* start) {
  return guarded([&] {
    with_type(into->dtype, [&](auto* none) {
      using T = std::remove_pointer_t<decltype(none)>;
      const auto first = start == nullptr ? Extents() : Extents(start, start + into->rank);
      in<HeldStep>(step).step.read(into->name, detail::view_of<T>(*into), first);
    });
  });
}
int cpp_step_end(void* step) {
  return guarded([&] { in<HeldStep>(step).step.end(); });
}
int cpp_step_close(void* step) {
  return guarded([&] { delete static_cast<HeldStep*>(step); });
}
int cpp_tail_open(const char* url, void** tail) {
  return guarded([&] { *tail = new Tail(url); });
}
int cpp_tail_next(void* tail, double timeout, void** step) {
  return guarded([&]() -> int {
    auto taken = in<Tail>(tail).next(timeout);
    if (!taken) return DVT_END;
    *step = new HeldStep{std::move(*taken), {}, {}};
    return DVT_OK;
  });
}
int cpp_tail_close(void* tail) {
  return guarded([&] { delete static_cast<Tail*>(tail); });
}
int cpp_writer_get_statistics(void* writer, dvt_stream_statistics* numbers) {
  return guarded([&] { *numbers = in<OpenWriter>(writer).writer->statistics(); });
}
int cpp_reader_get_statistics(void* reader, dvt_stream_statistics* numbers) {
  return guarded([&] { *numbers = in<std::unique_ptr<Reader>>(reader)->statistics(); });
}
int cpp_writer_get_info(void* writer, dvt_stream_info* info) {
  return guarded([&] { *info = in<OpenWriter>(writer).writer->info(); });
}
int cpp_reader_get_info(void* reader, dvt_stream_info* info) {
  return guarded([&] { *info = in<std::unique_ptr<Reader>>(reader)->info(); });
}
int cpp_stream_describe(const char* url, dvt_stream_description* description) {
  return guarded([&] { *description = describe_stream(url); });
}
int cpp_stream_destroy(const char* url) {
  return guarded([&] { destroy_stream(url); });
}

}  // extern "C"
