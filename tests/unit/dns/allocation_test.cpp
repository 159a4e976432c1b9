// The path of an answer that needs no waiting must not allocate. Counted by the hooks that AddressSanitizer offers, so
// this is checked where the sanitizers are on.
#include <catch2/catch.hpp>

#include "dns/cache.hpp"
#include "dns/local.hpp"
#include "dns/policy.hpp"
#include "tests/unit/dns/builders.hpp"

#ifdef __SANITIZE_ADDRESS__
// From sanitizer/allocator_interface.h, which Debian ships with clang only.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                                         void (*on_free)(const volatile void*));

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

std::size_t allocations = 0;

void count_allocation(const volatile void*, std::size_t) {
    ++allocations;
}
void ignore_release(const volatile void*) {}

class OneGuest final : public Names {
public:
    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override {
        return label == "pi" ? std::optional(Guest{Ipv4(192, 168, 100, 7), false}) : std::nullopt;
    }
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override {
        return address == Ipv4(192, 168, 100, 7) ? "pi" : std::string_view{};
    }
};

}  // namespace

TEST_CASE("Local and cached answers cost no allocation") {
    static const bool installed = __sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_release) != 0;
    REQUIRE(installed);
    const OneGuest names;
    PrefixSet networks = always_blocked();
    networks.finish();
    Blocklist list;
    list.add_hosts("0.0.0.0 ads.example\n");
    list.finish();
    Cache cache;
    LocalConfig config;
    config.domain = name("vm.internal");
    config.segment = *Cidr::parse("192.168.100.1/24");
    config.own_name = "router";
    config.hidden_domains = {name("fritz.box")};
    config.allow = {*DomainPattern::parse("*.example.com")};
    const Local local(config, {&names, &networks, &list, &cache, nullptr});
    Admission admission;
    const Monotonic now{std::chrono::hours(1)};
    admission.admit(Ipv4(192, 168, 100, 7), now);

    const Question kept = query("www.example.com").question;
    Answer answer;
    REQUIRE(check_response(kept, 0x1234,
                           Builder(0x1234, 0x8180)
                               .question("www.example.com", Type::A)
                               .answer("www.example.com", Type::A, 60, a("1.2.3.4")),
                           {&networks}, answer) == ResponseError::None);
    cache.store(kept, answer, now);

    std::array<std::uint8_t, 1232> out;
    const auto handle = [&](const Packet& packet) {
        const std::size_t before = allocations;
        Query asked;
        std::size_t size = 0;
        if (parse_query(packet, asked) == Parsed::Reject) {
            size = write_error(asked, asked.reject, out);
        } else if (admission.admit(Ipv4(192, 168, 100, 7), now)) {
            const Suffixes suffixes(asked.question.name);
            size = local.answer(asked, suffixes, out, 1232).size;
            if (size == 0) size = cache.answer(asked, suffixes, now, out, 1232);
        }
        const std::size_t after = allocations;
        CHECK(size > 0);
        return after - before;
    };
    const std::size_t before = allocations;
    const Packet counted = Builder().question("www.example.com", Type::A);
    REQUIRE(allocations > before);  // the hook works
    CHECK(handle(counted) == 0);
    for (const char* local_name :
         {"pi", "pi.vm.internal", "nobody.vm.internal", "7.100.168.192.in-addr.arpa", "9.9.168.192.in-addr.arpa",
          "localhost", "x.local", "nas", "nas.fritz.box", "ads.example", "not.allowed.example"}) {
        CAPTURE(local_name);
        CHECK(handle(Builder().question(local_name, Type::Ptr).opt()) == 0);
        CHECK(handle(Builder().question(local_name, Type::A)) == 0);
    }
    CHECK(handle(Builder().question("www.example.com", Type::Any)) == 0);
    CHECK(handle(Builder().question("www.example.com", Type::Axfr)) == 0);
}
#endif
