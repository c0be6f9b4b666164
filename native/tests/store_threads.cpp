// Threads on one handle and on several handles of a store, for the thread sanitizer.
//
//   store_threads [rounds]
#include <cstdio>
#include <string>
#include <vector>

#include "drivers.hpp"
#include "error.hpp"
#include "local_store.hpp"

using namespace drivers;

namespace {

dovetail::LocalStoreOptions options_for(const std::string& path) {
  dovetail::LocalStoreOptions options;
  options.path = path;
  options.label = "store";
  options.capacity = 64 << 20;
  return options;
}

std::size_t count_of(std::uint64_t number) { return number % 3 == 0 ? 5000 : 3 + number % 5; }

void check(const dovetail::Value& value) {
  const auto& entry = value.header->entries.at(0);
  const auto count = static_cast<std::size_t>(entry.nbytes / sizeof(std::uint64_t));
  const auto number = number_in(value.memory->data(), *value.header, count);
  require(count == count_of(number), "a value is the one that was put");
}

void work(dovetail::LocalStore& store, std::uint64_t me, std::uint64_t rounds) {
  std::vector<dovetail::Value> held;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto number = me * 1'000'000 + round;
    const auto array = filled(number, count_of(number));
    const std::string key = round % 4 == 0 ? "own" + std::to_string(me) : "shared";
    if (round % 3 == 0) {
      auto room = piece("u", array);
      room.data = nullptr;
      const auto reservation = store.reserve(key, {room}, {});
      auto* const bytes = reservation->memory()->writable_data();
      auto* const numbers =
          reinterpret_cast<std::uint64_t*>(bytes + reservation->extents().at(0).first);
      std::copy(array.begin(), array.end(), numbers);
      reservation->commit(false);
    } else {
      store.put(key, {piece("u", array)}, {});
    }
    held.push_back(store.get(key));
    check(held.back());
    if (held.size() > 3) {
      check(held.front());
      held.erase(held.begin());
    }
    store.append("list", std::to_string(number));
    require(store.exists(key), "a key that is replaced is never gone");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200ULL;
  const Folder folder;
  dovetail::LocalStore shared(options_for(folder.path() + "/s"));
  dovetail::LocalStore other(options_for(folder.path() + "/s"));
  constexpr std::uint64_t threads = 4;
  std::vector<std::function<void()>> tasks;
  for (std::uint64_t me = 0; me < threads; ++me) {
    tasks.push_back([&, me] { work(me % 2 == 0 ? shared : other, me, rounds); });
  }
  tasks.push_back([&] {
    for (std::uint64_t round = 0; round < 20; ++round) {
      check(shared.wait("shared", 60, std::nullopt, never_interrupt));
    }
  });
  run_together(tasks);
  require(shared.items("list", 0).size() == threads * rounds, "each item is kept once");
  std::printf("%llu rounds of %llu threads\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(threads));
  return 0;
}
