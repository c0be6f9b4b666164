// Streams from outside: where they lie, what there is to tell of them.
#include "streams.hpp"

#include <algorithm>
#include <cstring>

#include "calls.hpp"
#include "clock.hpp"
#include "local_store.hpp"
#include "url.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace dovetail::abi {

StreamPlace stream_place(const std::string& text) {
  const auto url = parse_url(text, Purpose::stream);
  if (url.scheme == "shm") {
    url.only({"capacity"});
  } else {
    url.only({"capacity", "lost_after", "over", "wait"});
  }
  auto folder = folder_of(url, Purpose::stream);
  const bool over_store = url.choice_option("over", {"ring", "store"}) == "store" ||
                          url.choice_option("wait", {"wake", "poll"}) == "poll";
  if (url.scheme == "file" && (over_store || !fills_in_place(folder_of(url, Purpose::store)))) {
    throw Error(Status::unavailable,
                "the stream " + url.text() +
                    " is kept over a store, which only Python reaches; the native client reaches "
                    "shm:// and, on a local disk, file:// without over=store and wait=poll");
  }
  return {std::move(folder), url.text(), url.bytes_option("capacity").value_or(0)};
}

dvt_stream_statistics statistics_of(const StreamCounters& counters, std::int64_t ns_in_calls) {
  return {static_cast<std::int64_t>(counters.steps),
          static_cast<std::int64_t>(counters.bytes),
          static_cast<double>(counters.ns_waited) * 1e-9,
          static_cast<double>(ns_in_calls) * 1e-9,
          static_cast<std::int64_t>(counters.dropped),
          static_cast<std::int64_t>(counters.redelivered)};
}

InCalls::InCalls(std::int64_t& total) : total_(total), started_(monotonic_ns()) {}
InCalls::~InCalls() { total_ += monotonic_ns() - started_; }

}  // namespace dovetail::abi

int dvt_stream_describe(const char* url, dvt_stream_description* description) {
  return guarded([&] {
    auto& told = result(description, "description");
    const auto place = stream_place(text_in(url, "the URL"));
    const auto summary = describe_stream(place.folder, place.url);
    told = {};
    told.policy = static_cast<std::int32_t>(summary.policy.kind);
    told.window = static_cast<std::int32_t>(summary.policy.window);
    told.state = static_cast<std::int32_t>(summary.state);
    told.epoch = static_cast<std::int64_t>(summary.epoch);
    told.ranks = static_cast<std::int64_t>(summary.ranks);
    told.steps_complete = static_cast<std::int64_t>(summary.steps_complete);
    told.steps_held = static_cast<std::int64_t>(summary.steps_held);
    told.bytes_held = static_cast<std::int64_t>(summary.bytes_held);
    told.capacity = static_cast<std::int64_t>(summary.capacity);
    told.groups_found = static_cast<std::int64_t>(summary.groups.size());
    const auto count = std::min(summary.groups.size(), std::size(told.groups));
    for (std::size_t i = 0; i < count; ++i) {
      const auto& group = summary.groups[i];
      auto& place_of_group = told.groups[i];
      std::strncpy(place_of_group.name, group.name.c_str(), sizeof place_of_group.name - 1);
      place_of_group.ranks = group.ranks;
      place_of_group.steps_ended = static_cast<std::int64_t>(group.steps_ended);
      place_of_group.state = static_cast<std::int32_t>(group.state);
    }
  });
}

int dvt_stream_destroy(const char* url) {
  return guarded([&] {
    const auto place = stream_place(text_in(url, "the URL"));
    destroy_stream(place.folder, place.url);
  });
}

int dvt_tail_open(const char* url, dvt_tail** tail) {
  return guarded([&] {
    auto& handle = result(tail, "tail");
    handle = handle_of(std::make_shared<OpenTail>(stream_place(text_in(url, "the URL"))));
  });
}

int dvt_tail_next(dvt_tail* tail, double timeout, dvt_step** step) {
  return guarded([&]() -> int {
    auto& handle = result(step, "step");
    const auto open = object_of<OpenTail>(tail);
    const auto deadline = deadline_in(timeout);
    const std::lock_guard lock(open->mutex);
    auto taken = open->core.next(deadline, uninterrupted);
    if (!taken) return DVT_END;
    handle = handle_of(std::make_shared<StepInHand>(std::move(*taken), std::weak_ptr<OpenReader>(),
                                                    open->overlaps));
    return DVT_OK;
  });
}

int dvt_tail_close(dvt_tail* tail) {
  return guarded([&] {
    if (tail != nullptr) take_object<OpenTail>(tail);
  });
}
