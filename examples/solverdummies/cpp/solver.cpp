// A tiny solver in C++: heat spreads over a plate, and a trainer watches.
//
//   c++ -std=c++17 solver.cpp -o solver $(pkg-config --cflags --libs dovetail)
//   DOVETAIL_STREAM_FIELDS=shm://plate ./solver
#include <dovetail/dovetail.hpp>
#include <iostream>
#include <string>
#include <vector>

constexpr int nx = 32, ny = 32, steps = 50;
constexpr double diffusivity = 0.1;

// How much the heat of each cell changes in one step. The edge is kept at 0.
void advance(dovetail::View<double> u, dovetail::View<double> change) {
  for (int j = 1; j < ny - 1; ++j) {
    for (int i = 1; i < nx - 1; ++i) {
      change(j, i) =
          diffusivity * (u(j, i - 1) + u(j, i + 1) + u(j - 1, i) + u(j + 1, i) - 4 * u(j, i));
    }
  }
  for (int j = 1; j < ny - 1; ++j) {
    for (int i = 1; i < nx - 1; ++i) u(j, i) += change(j, i);
  }
}

void solve() {
  std::vector<double> heat(nx * ny), heat_before(nx * ny), changes(nx * ny);
  const dovetail::View u(heat.data(), {ny, nx});
  const dovetail::View before(heat_before.data(), {ny, nx});
  const dovetail::View change(changes.data(), {ny, nx});
  u(ny / 2, nx / 3) = 1.0;

  // Up to 4 steps may wait for the trainer. If an exception passes, the trainer hears of it.
  dovetail::Writer out("fields", {dovetail::buffered(4)});
  for (int n = 0; n < steps; ++n) {
    heat_before = heat;
    advance(u, change);

    auto step = out.begin(R"({"step": )" + std::to_string(n) + "}");
    step.put("u", before);
    step.put("change", change);
    step.end();
  }
}

int main() {
  try {
    solve();
  } catch (const dovetail::Error& error) {
    std::cerr << "solver: " << error.what() << "\n";
    return 1;
  }
  std::cout << "solver: " << steps << " steps\n";
}
