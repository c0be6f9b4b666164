// Dovetail for C++17: stores and streams, over the binary interface of C. Nothing to compile.
//
//   dovetail::Writer out("shm://fields");
//   for (int n = 0; n < steps; ++n) {
//     auto step = out.begin();
//     step.put("u", dovetail::View(u.data(), {ny, nx}));
//     step.end();
//   }
//
// Every failure is an exception of errors.hpp. Handles close themselves: a Writer or a Reader that
// goes while an exception passes says so to the other side.
#pragma once

#include "errors.hpp"
#include "store.hpp"
#include "stream.hpp"
#include "view.hpp"
