// Calls Python from C++, and says what came of it.
#include <dovetail/python.hpp>
#include <iostream>
#include <vector>

int main() {
  std::vector<double> u{1, 2, 3, 4, 5, 6};
  std::vector<std::int16_t> k{0, 10, 1, 11, 2, 12};
  const dovetail::Lent field("u", dovetail::View(u.data(), {2, 3}));
  const dovetail::Lent kinds("k", dovetail::View(k.data(), {2, 3}, dovetail::Order::column_major));
  std::cout << dovetail::call_python("functions:scale", {field, kinds}, R"({"by": 3})") << "\n"
            << u[5] << " " << k[4] << "\n"
            << dovetail::call_python("functions:nothing") << "\n";
  try {
    dovetail::call_python("functions:fail", {{"u", u}});
    return 1;
  } catch (const dovetail::PythonFailedError& error) {
    std::cout << error.what() << "\n";
  }
}
