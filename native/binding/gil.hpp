// Giving the GIL up around what may take time, and taking it again for a moment.
//
// While the interpreter ends, CPython before 3.14 ends a thread that asks for the GIL by unwinding
// its stack. In C++ that would end the process instead. Such a thread stays where it is, as it
// does from 3.14 on: the process is about to end.
#pragma once

#include <nanobind/nanobind.h>
#include <unistd.h>

// The GIL is given up as long as one of these lives.
class WithoutGil {
 public:
  WithoutGil() : outer_(innermost_), state_(PyEval_SaveThread()) { innermost_ = this; }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() {
    innermost_ = outer_;
    take();
  }

  // The GIL is held meanwhile. Call it in a thread that gave the GIL up.
  template <class Call>
  static void interrupt(Call call) {
    const Interruption interruption(*innermost_);
    call();
  }

 private:
  struct Interruption {
    explicit Interruption(WithoutGil& interrupted) : interrupted(interrupted) {
      interrupted.take();
    }
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;
    ~Interruption() { interrupted.state_ = PyEval_SaveThread(); }
    WithoutGil& interrupted;
  };

  void take() noexcept {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }

  // Of this thread. What a signal handler calls meanwhile gives the GIL up once more.
  static inline thread_local WithoutGil* innermost_ = nullptr;
  WithoutGil* outer_;
  PyThreadState* state_;
};

template <class Call>
auto without_gil(Call call) {
  const WithoutGil released;
  return call();
}
