#include "src/base/debounce.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;
using namespace std::chrono_literals;

TEST_CASE("a burst is over when nothing has come for a while") {
    Debounce burst(200ms, 3000ms);
    const Monotonic start{1h};
    CHECK(burst.due() == std::nullopt);
    burst.event(start);
    CHECK(burst.due() == start + 200ms);
    burst.event(start + 150ms);
    CHECK(burst.due() == start + 350ms);
    burst.reset();
    CHECK(burst.due() == std::nullopt);
    burst.event(start + 10s);
    CHECK(burst.due() == start + 10s + 200ms);
}

TEST_CASE("a burst that does not end is not waited for longer than patience") {
    Debounce burst(200ms, 3000ms);
    const Monotonic start{1h};
    for (auto passed = 0ms; passed <= 10s; passed += 100ms) {
        burst.event(start + passed);
        CHECK(burst.due() == start + std::min<Milliseconds>(passed + 200ms, 3000ms));
    }
}
