// What a solver in C++ does with a model: once through everything that the header offers.
//
//   solver MODEL BATCH INPUTS OUTPUTS [STORE NAME]
#include <dovetail/dovetail.hpp>
#include <dovetail/model.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace {

using dovetail::View;

template <class T>
std::vector<T> read(std::ifstream& file, std::size_t count) {
  std::vector<T> values(count);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<long>(count * sizeof(T)));
  return values;
}

template <class T>
void write(std::ofstream& file, const std::vector<T>& values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<long>(values.size() * sizeof(T)));
}

void describe(const char* what, const std::vector<dovetail::Signature>& signatures) {
  std::cout << what;
  for (const auto& one : signatures) {
    std::cout << " " << one.name << ":" << dvt_dtype_name(one.dtype);
    for (const auto extent : one.shape) std::cout << "," << extent;
  }
  std::cout << "\n";
}

void refused(dovetail::Model& model, std::vector<float>& x) {
  try {
    const View<float> every_other(x.data(), {2, 4}, dovetail::Extents{8, 2});
    std::cout << model.run({every_other}, {}) << "\n";
  } catch (const dovetail::ArgumentError& error) {
    std::cout << "refused: " << error.what() << "\n";
  }
  try {
    std::cout << model.run({View(x.data(), {2, 4})}, {}) << "\n";
  } catch (const dovetail::ArgumentError& error) {
    std::cout << "refused: " << error.what() << "\n";
  }
}

void solve(char** words, bool follows) {
  dovetail::ModelOptions options;
  options.device = "cpu";
  options.threads = 1;
  if (std::getenv("MODEL_SHARED") != nullptr) options.shared = DVT_MODEL_SHARED;
  dovetail::Model model(words[1], options);
  describe("inputs", model.inputs());
  describe("outputs", model.outputs());
  if (follows) {
    dovetail::Store store(words[5]);
    model.follow(store, words[6]);
    store.close();
    std::cout << "taken " << model.refresh() << " " << model.refresh() << "\n";
  }

  const auto batch = std::stol(words[2]);
  std::ifstream given(words[3], std::ios::binary);
  auto x = read<float>(given, static_cast<std::size_t>(batch) * 8);
  const auto scale = read<dovetail::bfloat16>(given, static_cast<std::size_t>(batch));
  const auto shift = read<std::int64_t>(given, static_cast<std::size_t>(batch));
  std::vector<float> first(static_cast<std::size_t>(batch) * 4);
  std::vector<dovetail::bfloat16> second(static_cast<std::size_t>(batch));

  const View u(x.data(), {batch, 8});
  const auto run = [&] {
    return model.run({u, View(scale.data(), {batch, 1}), View(shift)},
                     {View(first.data(), {batch, 4}), View(second)});
  };
  std::cout << "ran " << run() << "\n";
  std::ofstream made(words[4], std::ios::binary);
  write(made, first);
  write(made, second);

  refused(model, x);
  model.guard(std::vector<double>(8, -1e-3), std::vector<double>(8, 1e-3));
  std::cout << "ran " << run() << "\n";
  const auto statistics = model.statistics();
  std::cout << "calls " << statistics.calls << " fallbacks " << statistics.fallbacks << "\n";
}

}  // namespace

int main(int count, char** words) {
  try {
    solve(words, count > 5);
  } catch (const dovetail::Error& error) {
    std::cout << dvt_status_name(error.status()) << ": " << error.what() << "\n";
    return 1;
  }
}
