// Python inside the solver, in C++: see python.h for what a call promises.
//
//   std::vector<double> u(ny * nx);
//   dovetail::call_python("train:improve", {{"u", dovetail::View(u.data(), {ny, nx})}},
//                         R"({"rate": 0.5})");
#pragma once

#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "python.h"
#include "view.hpp"

namespace dovetail {

// An array with its name that Python may write to, for as long as a call lasts.
class Lent : public Named {
 public:
  template <class T>
  Lent(std::string name, const View<T>& view) : Named(std::move(name), view) {
    static_assert(!std::is_const_v<T>, "Python can write to what it is given");
  }
  template <class Sequence, class = detail::element_in_t<Sequence>>
  Lent(std::string name, Sequence&& sequence)
      : Lent(std::move(name), View<detail::element_in_t<Sequence>>(sequence)) {}
};

// Calls "module:function" with the arrays under their names, and with the members of `settings`, a
// JSON object as text. Gives what it returned, as JSON. What it raises is a PythonFailedError.
inline std::string call_python(const std::string& function, std::initializer_list<Lent> arrays = {},
                               const std::string& settings = "{}") {
  std::vector<dvt_array> described;
  for (const auto& array : arrays) described.push_back(array.described());
  const char* answer = nullptr;
  detail::check(dvt_python_call(function.c_str(), described.data(),
                                static_cast<int>(described.size()), settings.c_str(), &answer));
  return answer;
}

}  // namespace dovetail
