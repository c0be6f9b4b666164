// How many threads a call takes: measured once for each size of input, and kept beside the
// compiled model for the next process.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>

namespace dovetail {

class ThreadChoice {
 public:
  // `most` is what a call may take at most. What was measured before is read from the folder.
  ThreadChoice(const std::string& folder, int most);

  // For a call with so many elements of input; `measure` makes the call with a number of threads.
  // The first call of a size class makes some more calls, to find the fastest.
  int of(std::uint64_t elements, const std::function<void(int threads)>& measure);

 private:
  void read();
  void write() const;
  std::string path_;
  int most_;
  std::array<int, 64> by_class_{};  // 0: not measured yet
};

// How many threads this process may take: its share of the processors that it may run on, among
// the ranks that a launcher says it has on this node; no more than OMP_NUM_THREADS.
int available_threads();
// The shares of all ranks of this node that a launcher tells of; no more than there are processors.
int threads_of_all_ranks();
// Which of so many devices this rank uses: neighbours share one. The first, where no launcher says
// which rank of the node this is.
int device_of_rank(int devices);
int devices_here(const std::string& kind);

}  // namespace dovetail
