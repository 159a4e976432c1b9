#pragma once

#include <cstdlib>

/// What must hold for any input; a fuzzer sees an abort.
inline void require(bool condition) {
    if (!condition) std::abort();
}
