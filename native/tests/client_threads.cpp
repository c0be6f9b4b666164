// The library as programs use it, from many threads: stores, both ends of a stream, handles that
// are closed while others use them. For the sanitizers.
//
//   client_threads [rounds] [URL of a store elsewhere than in shared memory]
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <dovetail/dovetail.hpp>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s (last error: %s)\n", what, dvt_last_error());
  std::abort();
}

void run_together(const std::vector<std::function<void()>>& tasks) {
  std::vector<std::thread> threads;
  for (const auto& task : tasks) {
    threads.emplace_back([&task] {
      try {
        task();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        std::abort();
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

// A plate of one number, seen with gaps, upside down or across.
std::vector<double> plate(double number) { return std::vector<double>(24 * 32, number); }
dovetail::View<double> seen(std::vector<double>& plate, int manner) {
  auto* const data = plate.data();
  if (manner == 0) return {data, {24, 32}};
  if (manner == 1) return {data, {24, 32}, dovetail::Order::column_major};
  if (manner == 2) return {data, {12, 16}, dovetail::Extents{64, 2}};
  return {data + 23 * 32, {24, 32}, dovetail::Extents{-32, 1}};
}

bool is_of_one_number(const dovetail::View<const double>& view) {
  for (std::int64_t j = 0; j < view.extent(0); ++j) {
    for (std::int64_t i = 0; i < view.extent(1); ++i) {
      if (view(j, i) != view(0, 0)) return false;
    }
  }
  return true;
}

void share_a_store(const std::string& url, int rounds) {
  dovetail::Store store(url);
  auto cold = plate(0);
  store.put("plate", seen(cold, 0));
  const auto put = [&](int me) {
    for (int round = 0; round < rounds; ++round) {
      auto numbers = plate(me * rounds + round);
      store.put("plate", seen(numbers, round % 4), R"({"round": 1})");
      store.append("all", std::to_string(me) + "-" + std::to_string(round));
    }
  };
  const auto fill = [&] {
    for (int round = 0; round < rounds; ++round) {
      auto room = store.reserve("plate", {dovetail::room<double>("value", {24, 32})});
      for (auto& number : room.array<double>()) number = round;
      if (round % 3 != 0) room.commit();
    }
  };
  const auto get = [&] {
    for (int round = 0; round < rounds; ++round) {
      const auto value = store.get("plate");
      const auto view = value.array<double>();
      require(is_of_one_number(view), "a value is never torn");
      std::vector<double> copy(static_cast<std::size_t>(view.size()));
      value.read(dovetail::View<double>(copy.data(), view.shape(), dovetail::Order::column_major));
      require(copy.front() == view(0, 0) && copy.back() == view(0, 0), "a copy is whole");
      require(value.attrs() == "{}" || value.attrs() == R"({"round": 1})", "attributes cross");
    }
  };
  run_together({[&] { put(0); }, [&] { put(1); }, fill, get, get});
  require(store.items("all").size() == static_cast<std::size_t>(2 * rounds), "each item is kept");
  store.destroy();
}

// Each answers what the other says, in one key each, and counts the items of one list.
void wait_for_each_other(const std::string& url, int rounds) {
  dovetail::Store store(url);
  const auto talk = [&](const std::string& mine, const std::string& theirs, bool begins) {
    std::optional<std::string> seen;
    for (int round = 0; round < rounds; ++round) {
      if (begins) store.put(mine, std::vector<double>{static_cast<double>(round)});
      const auto value = store.wait(theirs, 60, seen);
      require(value.array<double>()(0) == round, "no word is missed");
      seen = value.version();
      if (!begins) store.put(mine, std::vector<double>{static_cast<double>(round)});
      store.append("words", mine);
    }
  };
  const auto count = [&] {
    require(
        store.wait_items("words", 2 * rounds, 60).size() >= static_cast<std::size_t>(2 * rounds),
        "all words are counted");
  };
  run_together({[&] { talk("ping", "pong", true); }, [&] { talk("pong", "ping", false); }, count});
  store.destroy();
}

void share_a_stream(const std::string& url, int steps) {
  const auto write = [&](int rank) {
    dovetail::WriterOptions options;
    options.policy = dovetail::buffered(3);
    options.ranks = dovetail::ranks_of(rank, 2);
    dovetail::Writer out(url, options);
    for (int step = 0; step < steps; ++step) {
      auto numbers = plate(step);
      // Of several ranks the lowest one's attributes count.
      auto open = out.begin(rank == 0 ? R"({"step": )" + std::to_string(step) + "}" : "");
      open.put("u", dovetail::View<double>(numbers.data(), {12, 32}), {{24, 32}, {12 * rank, 0}});
      auto room = open.empty<float>("rows", {3, 5});
      for (auto& number : room) number = static_cast<float>(step);
      open.end();
    }
  };
  const auto read = [&] {
    dovetail::Reader in(url);
    std::vector<dovetail::Step> held;
    while (auto step = in.next()) {
      const auto whole = step->array<double>("u");
      require(whole.extent(0) == 24 && is_of_one_number(whole), "blocks make a whole");
      const auto part = step->array<double>("u", {10, 3}, {4, 5});
      require(part(3, 4) == whole(0, 0), "a selection crosses blocks");
      require(step->array<float>("rows").extent(0) == 6, "rows are joined");
      require(step->attrs() == R"({"step": )" + std::to_string(step->index()) + "}", "attributes");
      held.push_back(std::move(*step));
      if (held.size() > 2) {
        require(held.front().array<double>("u")(0, 0) == static_cast<double>(held.front().index()),
                "a view in hand never changes");
        held.erase(held.begin());
      }
    }
  };
  run_together({[&] { write(0); }, [&] { write(1); }, read, read});
}

// One thread closes what the others use: they hear of it, and nothing is followed that is gone.
void close_under_others(const std::string& url, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    dvt_store* store = nullptr;
    require(dvt_store_open(url.c_str(), &store) == DVT_OK, "a store opens");
    auto numbers = plate(round);
    const dovetail::Named named("u", seen(numbers, 0));
    const auto array = named.described();
    const auto use = [&] {
      for (;;) {
        dvt_value* value = nullptr;
        int status = dvt_store_put(store, "k", &array, 1, nullptr, nullptr);
        if (status == DVT_OK) status = dvt_store_get(store, "k", &value);
        dvt_value_close(value);
        if (status == DVT_CLOSED) return;
        require(status == DVT_OK || status == DVT_ABSENT, "nothing else goes wrong");
      }
    };
    run_together({use, use, [&] { dvt_store_close(store); }});
    require(dvt_store_close(store) == DVT_CLOSED, "a handle is closed once");
  }
  dovetail::Store(url).destroy();
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  if (argc > 2) {
    share_a_store(argv[2], rounds);
    wait_for_each_other(argv[2], rounds);
    close_under_others(argv[2], rounds / 10 + 1);
  } else {
    const auto url = "shm://client-threads-" + std::to_string(getpid());
    share_a_store(url, rounds);
    wait_for_each_other(url, rounds);
    share_a_stream(url, rounds);
    close_under_others(url, rounds / 10 + 1);
  }
  std::printf("%d rounds\n", rounds);
  return 0;
}
