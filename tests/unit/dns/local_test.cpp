// Names that are answered here: guests, records, zones of nobody, and what must not leave.

#include "tests/unit/dns/local_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

TEST_CASE("A guest is found by its name bare and under the domain in any case") {
    LocalLab f;
    CHECK(has(f.ask("pi"), {"192.168.100.7"}));
    CHECK(has(f.ask("PI.Vm.internal"), {"192.168.100.7"}));
    CHECK(f.ask("pi").seen.items[0].ttl == 0);
    CHECK(f.ask("pi").verdict == Verdict::Guest);
    CHECK(has(f.ask("web.vm.internal", Type::Any), {"192.168.100.10"}));
    f.names.guests.erase("pi");
    CHECK(is_nxdomain(f.ask("pi.vm.internal"), "vm.internal"));
    CHECK(is_nxdomain(f.ask("pi"), "."));
}

TEST_CASE("A guest's name answers A and nothing else as data") {
    LocalLab f;
    CHECK(is_nodata(f.ask("pi", Type::Aaaa), "pi"));
    CHECK(is_nodata(f.ask("pi.vm.internal", Type::Aaaa), "vm.internal"));
    CHECK(is_nodata(f.ask("pi.vm.internal", Type::Mx), "vm.internal"));
    // NXDOMAIN for another type would hide the A from a stub that knows RFC 8020.
    CHECK(is_nodata(f.ask("pi", Type::Https), "pi"));
    CHECK(is_nxdomain(f.ask("sub.pi.vm.internal"), "vm.internal"));
}

TEST_CASE("A guest called com does not break the top-level domain") {
    LocalLab f;
    f.names.guests["com"] = {Ipv4(192, 168, 100, 66), false};
    CHECK(has(f.ask("com"), {"192.168.100.66"}));
    for (const Type type : {Type::Ds, Type::Dnskey, Type::Ns, Type::Soa})
        CHECK(f.ask("com", type).verdict == Verdict::Forward);
    CHECK(f.ask("example.com").verdict == Verdict::Forward);
}

TEST_CASE("Names that others find their way by are not given to guests that claim them") {
    LocalLab f;
    f.names.guests = {{"wpad", {Ipv4(192, 168, 100, 66), false}},
                      {"myhost", {Ipv4(192, 168, 100, 67), false}},
                      {"isatap", {Ipv4(192, 168, 100, 68), true}},
                      {"localhost", {Ipv4(192, 168, 100, 69), true}},
                      {"router", {Ipv4(192, 168, 100, 70), true}}};
    CHECK(f.ask("wpad.vm.internal").rcode() == Rcode::NxDomain);
    CHECK(f.ask("wpad").rcode() == Rcode::NxDomain);
    CHECK(f.ask("66.100.168.192.in-addr.arpa", Type::Ptr).rcode() == Rcode::NxDomain);
    CHECK(f.ask("myhost").rcode() == Rcode::NxDomain);
    CHECK(f.ask("myhost.vm.internal").rcode() == Rcode::NxDomain);
    CHECK(has(f.ask("isatap"), {"192.168.100.68"}));  // the administrator reserved it
    CHECK(has(f.ask("localhost"), {"127.0.0.1"}));
    CHECK(has(f.ask("router"), {"192.168.100.1"}));
}

TEST_CASE("Our own name leads to our address and back") {
    LocalLab f;
    CHECK(has(f.ask("router.vm.internal"), {"192.168.100.1"}));
    CHECK(has(f.ask("ROUTER"), {"192.168.100.1"}));
    const Said back = f.ask("1.100.168.192.in-addr.arpa", Type::Ptr);
    CHECK(rdata_name(back.message, Type::Ptr) == "router.vm.internal");
}

TEST_CASE("The domain is a zone with SOA and NS and nothing of it leaves") {
    LocalLab f;
    const Said soa_said = f.ask("vm.internal", Type::Soa);
    REQUIRE(soa_said.seen.items.size() == 1);
    CHECK(soa_said.seen.items[0].section == Record::Section::Answer);
    CHECK(rdata_name(f.ask("vm.internal", Type::Ns).message, Type::Ns) == "vm.internal");
    CHECK(is_nodata(f.ask("vm.internal"), "vm.internal"));
    CHECK(is_nodata(f.ask("vm.internal", Type::Ds), "vm.internal"));
    CHECK(is_nxdomain(f.ask("nobody.vm.internal", Type::Txt), "vm.internal"));
    CHECK(f.ask("nobody.vm.internal").seen.items[0].ttl == 0);
}

TEST_CASE("Records answer both families and their parents exist") {
    LocalLab f;
    CHECK(has(f.ask("NAS.vm.internal"), {"192.168.100.5"}));
    CHECK(has(f.ask("nas.vm.internal", Type::Aaaa), {"2001:db8::5"}));
    CHECK(has(f.ask("nas.vm.internal", Type::Any), {"192.168.100.5", "2001:db8::5"}));
    CHECK(is_nodata(f.ask("nas.vm.internal", Type::Mx), "vm.internal"));
    CHECK(has(f.ask("nas"), {"192.168.100.5"}));
    CHECK(is_nodata(f.ask("er.vm.internal"), "vm.internal"));
    CHECK(has(f.ask("deep.er.vm.internal"), {"192.168.100.6"}));
    CHECK(has(f.ask("pinned.example.com"), {"9.9.9.9"}));
    CHECK(is_nodata(f.ask("pinned.example.com", Type::Https), "pinned.example.com"));  // nor by its hints
    CHECK(f.ask("example.com").verdict == Verdict::Forward);
}

TEST_CASE("A record wins over a guest that claims its name") {
    LocalLab f;
    f.names.guests["nas"] = {Ipv4(192, 168, 100, 66), false};
    CHECK(has(f.ask("nas.vm.internal"), {"192.168.100.5"}));
    CHECK(has(f.ask("nas"), {"192.168.100.5"}));
}

TEST_CASE("Reverse names lead to guests and records and the segment's others do not exist") {
    LocalLab f;
    Said said = f.ask("7.100.168.192.in-addr.arpa", Type::Ptr);
    CHECK(rdata_name(said.message, Type::Ptr) == "pi.vm.internal");
    CHECK(said.seen.items[0].ttl == 0);
    CHECK(is_nodata(f.ask("7.100.168.192.in-addr.arpa", Type::A), "100.168.192.in-addr.arpa"));
    CHECK(is_nxdomain(f.ask("99.100.168.192.in-addr.arpa", Type::Ptr), "100.168.192.in-addr.arpa"));
    CHECK(is_nxdomain(f.ask("x.7.100.168.192.in-addr.arpa", Type::Ptr), "100.168.192.in-addr.arpa"));
    CHECK(is_nxdomain(f.ask("07.100.168.192.in-addr.arpa", Type::Ptr), "100.168.192.in-addr.arpa"));
    said = f.ask("5.100.168.192.in-addr.arpa", Type::Ptr);
    CHECK(rdata_name(said.message, Type::Ptr) == "nas.vm.internal");
    said = f.ask("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", Type::Ptr);
    CHECK(rdata_name(said.message, Type::Ptr) == "nas.vm.internal");
    said = f.ask("100.168.192.in-addr.arpa", Type::Soa);
    CHECK(said.seen.items.at(0).section == Record::Section::Answer);
    CHECK(is_nodata(f.ask("168.192.in-addr.arpa", Type::Ptr), "168.192.in-addr.arpa"));
}

TEST_CASE("A segment inside a wider private zone leaves no hole above it") {
    LocalLab f;
    f.config.segment = *Cidr::parse("10.1.2.1/24");
    f.names.guests["pi"] = {Ipv4(10, 1, 2, 7), false};
    CHECK(rdata_name(f.ask("7.2.1.10.in-addr.arpa", Type::Ptr).message, Type::Ptr) == "pi.vm.internal");
    CHECK(is_nodata(f.ask("1.10.in-addr.arpa", Type::Ptr), "10.in-addr.arpa"));
    CHECK(is_nodata(f.ask("10.in-addr.arpa", Type::Ptr), "10.in-addr.arpa"));
    CHECK(is_nxdomain(f.ask("2.10.in-addr.arpa", Type::Ptr), "10.in-addr.arpa"));
    CHECK(is_nxdomain(f.ask("7.3.1.10.in-addr.arpa", Type::Ptr), "10.in-addr.arpa"));
}

TEST_CASE("Segments whose prefix is not whole octets have their own addresses only") {
    LocalLab f;
    f.config.segment = *Cidr::parse("172.20.16.1/20");
    f.names.guests["pi"] = {Ipv4(172, 20, 31, 7), false};
    CHECK(rdata_name(f.ask("7.31.20.172.in-addr.arpa", Type::Ptr).message, Type::Ptr) == "pi.vm.internal");
    CHECK(f.ask("1.31.20.172.in-addr.arpa", Type::Ptr).verdict == Verdict::Guest);
    CHECK(f.ask("1.32.20.172.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
    f.local.reset();
    f.config.segment = *Cidr::parse("192.168.100.1/26");
    CHECK(f.ask("63.100.168.192.in-addr.arpa", Type::Ptr).verdict == Verdict::Guest);
    CHECK(f.ask("64.100.168.192.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
}

TEST_CASE("Private reverse names never leave") {
    LocalLab f;
    for (const char* leak :
         {"1.0.0.10.in-addr.arpa", "1.1.168.192.in-addr.arpa", "1.0.31.172.in-addr.arpa", "1.0.64.100.in-addr.arpa",
          "9.8.127.100.in-addr.arpa", "1.1.254.169.in-addr.arpa", "53.0.0.127.in-addr.arpa", "1.2.0.192.in-addr.arpa",
          "lb._dns-sd._udp.0.178.168.192.in-addr.arpa", "5.114.0.203.in-addr.arpa",
          "b._dns-sd._udp.0.114.0.203.in-addr.arpa", "1.0.0.224.in-addr.arpa", "0.0.18.198.in-addr.arpa",
          "114.0.203.in-addr.arpa", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
          "x.c.f.ip6.arpa", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa",
          "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.2.0.f.f.ip6.arpa"}) {
        CAPTURE(leak);
        const Said said = f.ask(leak, Type::Ptr);
        CHECK(said.verdict == Verdict::PrivateReverse);
        CHECK(said.rcode() == Rcode::NxDomain);
    }
    for (const char* fine :
         {"8.8.8.8.in-addr.arpa", "1.0.63.100.in-addr.arpa", "1.0.32.172.in-addr.arpa", "5.115.0.203.in-addr.arpa",
          "203.in-addr.arpa", "0.203.in-addr.arpa", "in-addr.arpa", "172.in-addr.arpa", "300.8.8.8.in-addr.arpa",
          "8.8.8.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.4.0.6.8.4.1.0.0.2.ip6.arpa"}) {
        CAPTURE(fine);
        CHECK(f.ask(fine, Type::Ptr).verdict == Verdict::Forward);
    }
}

TEST_CASE("Of a reverse zone that is the LAN's in part only its addresses are hidden") {
    LocalLab f;
    f.networks.block(*Cidr::parse("203.0.116.0/25"));
    f.networks.finish();
    CHECK(f.ask("127.116.0.203.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
    CHECK(f.ask("128.116.0.203.in-addr.arpa", Type::Ptr).verdict == Verdict::Forward);
    CHECK(f.ask("116.0.203.in-addr.arpa", Type::Soa).verdict == Verdict::Forward);
}

TEST_CASE("Loopback addresses are called localhost") {
    LocalLab f;
    CHECK(rdata_name(f.ask("1.0.0.127.in-addr.arpa", Type::Ptr).message, Type::Ptr) == "localhost");
    CHECK(
        rdata_name(f.ask("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Type::Ptr).message,
                   Type::Ptr) == "localhost");
}

TEST_CASE("Special-use names are answered as their RFCs say") {
    LocalLab f;
    CHECK(has(f.ask("localhost"), {"127.0.0.1"}));
    CHECK(has(f.ask("a.b.localhost", Type::Aaaa), {"::1"}));
    CHECK(is_nodata(f.ask("localhost", Type::Mx), "localhost"));
    for (const char* absent : {"invalid", "x.invalid", "x.test", "abc.onion", "printer.local", "x.alt"}) {
        CAPTURE(absent);
        CHECK(f.ask(absent).rcode() == Rcode::NxDomain);
        CHECK(f.ask(absent).verdict == Verdict::Special);
    }
    CHECK(f.ask("local", Type::Soa).rcode() == Rcode::NxDomain);  // nss-mdns looks for exactly this
    CHECK(is_nodata(f.ask("resolver.arpa", Type{64}), "resolver.arpa"));
    CHECK(is_nodata(f.ask("_dns.resolver.arpa", Type::Svcb), "resolver.arpa"));
    CHECK(is_nxdomain(f.ask("x.home.arpa"), "home.arpa"));
    CHECK(f.ask("home.arpa", Type::Ns).seen.count(Record::Section::Answer) == 1);
    CHECK(f.ask("home.arpa", Type::Ds).verdict == Verdict::Forward);
    CHECK(f.ask("10.in-addr.arpa", Type::Ds).verdict == Verdict::Forward);
    CHECK(f.ask("1.10.in-addr.arpa", Type::Ds).verdict == Verdict::PrivateReverse);
    CHECK(has(f.ask("ipv4only.arpa"), {"192.0.0.170", "192.0.0.171"}));
    CHECK(is_nodata(f.ask("ipv4only.arpa", Type::Aaaa), "ipv4only.arpa"));
    CHECK(f.ask("example").rcode() == Rcode::NxDomain);  // a single label
    CHECK(f.ask("www.example").verdict == Verdict::Forward);
}

TEST_CASE("A domain of ours may be a special-use one or lie in it") {
    LocalLab f;
    f.config.domain = name("home.arpa");
    CHECK(has(f.ask("pi.home.arpa"), {"192.168.100.7"}));
    CHECK(is_nxdomain(f.ask("x.home.arpa"), "home.arpa"));
    f.local.reset();
    f.config.domain = name("vm.home.arpa");
    CHECK(has(f.ask("pi.vm.home.arpa"), {"192.168.100.7"}));
    CHECK(is_nxdomain(f.ask("x.home.arpa"), "home.arpa"));
    CHECK(is_nodata(f.ask("home.arpa"), "home.arpa"));
    f.local.reset();
    f.config.domain = name("lan");
    CHECK(has(f.ask("pi.lan"), {"192.168.100.7"}));
    CHECK(is_nxdomain(f.ask("nobody.lan"), "lan"));
}

TEST_CASE("Names of the LAN are hidden") {
    LocalLab f;
    for (const char* secret : {"nas2", "fritz.box", "nas.fritz.box", "myhost", "myhost.example.org",
                               "printer.office.example", "x.lan", "router.home", "db.corp", "x.internal", "ai"}) {
        CAPTURE(secret);
        CHECK(f.ask(secret).rcode() == Rcode::NxDomain);
        CHECK(f.ask(secret).verdict == Verdict::Hidden);
    }
    CHECK(is_nxdomain(f.ask("nas.fritz.box"), "fritz.box"));
    // Hidden, but there: a resolver that hears NXDOMAIN takes everything below for absent as well (RFC 8020).
    CHECK(is_nodata(f.ask("internal"), "."));
    CHECK(is_nodata(f.ask("internal", Type::Mx), "."));
    for (const char* fine : {"example.org", "www.myhost.example.org", "office.example", "box", "xfritz.box"})
        CHECK((f.ask(fine).verdict == Verdict::Forward || std::string(fine) == "box"));
    for (const Type type : {Type::Ds, Type::Dnskey, Type::Ns, Type::Soa})
        CHECK(f.ask("org", type).verdict == Verdict::Forward);
    CHECK(f.ask(".", Type::Ns).verdict == Verdict::Forward);
    CHECK(f.ask(".", Type::Dnskey).verdict == Verdict::Forward);
}

TEST_CASE("Where a record or the domain lies below a hidden or special name that name is there") {
    LocalLab f;
    f.config.domain = name("vm.site.internal");
    f.config.records = {{name("nas.lan"), Ipv4(192, 168, 100, 5)}, {name("a.printer.local"), Ipv4(192, 168, 100, 6)}};
    for (const char* there : {"internal", "lan"}) CHECK(is_nodata(f.ask(there), "."));
    CHECK(is_nodata(f.ask("site.internal"), "internal"));
    CHECK(is_nodata(f.ask("printer.local"), "local"));
    CHECK(has(f.ask("nas.lan"), {"192.168.100.5"}));
    CHECK(is_nxdomain(f.ask("other.internal"), "internal"));
    CHECK(is_nxdomain(f.ask("x.local"), "local"));
    CHECK(is_nxdomain(f.ask("home"), "."));
}

TEST_CASE("Without hide_lan_names only guests and zones are answered here") {
    LocalLab f;
    f.config.hide_lan_names = false;
    for (const char* open : {"nas2", "nas.fritz.box", "myhost.example.org", "x.lan"})
        CHECK(f.ask(open).verdict == Verdict::Forward);
    CHECK(has(f.ask("pi"), {"192.168.100.7"}));
    CHECK(is_nodata(f.ask("pi", Type::Aaaa), "pi"));
    CHECK(f.ask("pi", Type::Mx).verdict == Verdict::Forward);
    CHECK(f.ask("1.0.0.10.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
}

TEST_CASE("A route names its domain and frees it from hiding") {
    LocalLab f;
    f.config.routes = {{name("corp.example"), 1},       {name("eu.corp.example"), 2}, {name("fritz.box"), 3},
                       {name("20.10.in-addr.arpa"), 4}, {name("corp.local"), 5},      {name("intra"), 6}};
    const auto group = [&](const char* text, Type type = Type::A) {
        const Said said = f.ask(text, type);
        return said.verdict == Verdict::Forward && said.route != nullptr ? said.route->upstream_group : 0;
    };
    CHECK(group("corp.example") == 1);
    CHECK(group("a.b.CORP.example") == 1);
    CHECK(group("x.eu.corp.example") == 2);
    CHECK(group("nas.fritz.box") == 3);
    CHECK(group("1.1.20.10.in-addr.arpa", Type::Ptr) == 4);
    CHECK(group("dc.corp.local") == 5);
    CHECK(group("intra") == 6);
    CHECK(group("notcorp.example") == 0);
    CHECK(f.ask("1.1.21.10.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
    CHECK(f.ask("x.local").verdict == Verdict::Special);
}

TEST_CASE("A route for everything hides as before") {
    LocalLab f;
    f.config.routes = {{Name{}, 1}};
    CHECK(f.ask("www.example.org").route != nullptr);
    CHECK(f.ask("nas.fritz.box").verdict == Verdict::Hidden);
    CHECK(f.ask("nas2").verdict == Verdict::Hidden);
    CHECK(f.ask("1.0.0.10.in-addr.arpa", Type::Ptr).verdict == Verdict::PrivateReverse);
}

TEST_CASE("Our domain and segment cannot be routed away but names below the domain can") {
    LocalLab f;
    f.config.routes = {{name("internal"), 1}, {name("168.192.in-addr.arpa"), 2}, {name("lab.vm.internal"), 3}};
    CHECK(has(f.ask("pi.vm.internal"), {"192.168.100.7"}));
    CHECK(f.ask("x.internal").route != nullptr);
    CHECK(f.ask("7.100.168.192.in-addr.arpa", Type::Ptr).verdict == Verdict::Guest);
    CHECK(f.ask("7.101.168.192.in-addr.arpa", Type::Ptr).verdict == Verdict::Forward);
    CHECK(f.ask("x.lab.vm.internal").verdict == Verdict::Forward);
    CHECK(f.ask("localhost").verdict == Verdict::Special);
}

TEST_CASE("Blocked domains are NXDOMAIN by name and by suffix and by list") {
    LocalLab f;
    f.config.block = {*DomainPattern::parse("ads.example"), *DomainPattern::parse("*.track.example"),
                      *DomainPattern::parse(".both.example")};
    f.list.add_hosts("0.0.0.0 listed.example\n");
    f.list.finish();
    CHECK(is_nxdomain(f.ask("ADS.example"), "ads.example"));
    CHECK(f.ask("ads.example").verdict == Verdict::Blocked);
    CHECK(f.ask("x.ads.example").verdict == Verdict::Forward);
    CHECK(is_nxdomain(f.ask("a.b.track.example"), "track.example"));
    CHECK(f.ask("track.example").verdict == Verdict::Forward);
    CHECK(f.ask("both.example").verdict == Verdict::Blocked);
    CHECK(f.ask("x.both.example").verdict == Verdict::Blocked);
    CHECK(is_nxdomain(f.ask("Listed.example", Type::Any), "listed.example"));
    CHECK(f.ask("x.listed.example").verdict == Verdict::Forward);
    CHECK(f.ask(edns_query("ads.example")).seen.ede == 15);
}

TEST_CASE("With allow_domains nothing else resolves but what is ours") {
    LocalLab f;
    f.config.allow = {*DomainPattern::parse("*.debian.org"), *DomainPattern::parse("example.org")};
    f.config.block = {*DomainPattern::parse("bad.debian.org")};
    f.config.routes = {{name("corp.example"), 1}};
    CHECK(f.ask("www.debian.org").verdict == Verdict::Forward);
    CHECK(f.ask("debian.org").rcode() == Rcode::Refused);
    CHECK(f.ask("debian.org").verdict == Verdict::NotAllowed);
    CHECK(f.ask("example.org").verdict == Verdict::Forward);
    CHECK(f.ask("x.example.org").rcode() == Rcode::Refused);
    CHECK(f.ask("xdebian.org").rcode() == Rcode::Refused);
    CHECK(f.ask("www.debian.org.evil.example").rcode() == Rcode::Refused);
    CHECK(f.ask("bad.debian.org").rcode() == Rcode::NxDomain);
    CHECK(f.ask("db.corp.example").rcode() == Rcode::Refused);
    CHECK(f.ask("org", Type::Ds).rcode() == Rcode::Refused);
    CHECK(has(f.ask("pi"), {"192.168.100.7"}));
    CHECK(f.ask("secret-in-a-name", Type::Txt).rcode() == Rcode::NxDomain);
}

TEST_CASE("In a closed segment nothing is asked elsewhere but what has a route") {
    LocalLab f;
    f.config.closed = true;
    f.config.routes = {{name("corp.example"), 1}};
    f.config.allow = {*DomainPattern::parse("*.debian.org"), *DomainPattern::parse("*.corp.example")};
    CHECK(f.ask("www.example.org").rcode() == Rcode::Refused);
    CHECK(f.ask("www.example.org").verdict == Verdict::NotAllowed);
    CHECK(f.ask("www.debian.org").rcode() == Rcode::Refused);
    CHECK(f.ask("secret.example.org", Type::Txt).rcode() == Rcode::Refused);
    CHECK(f.ask("org", Type::Ds).rcode() == Rcode::Refused);
    CHECK(f.ask("1.8.8.9.in-addr.arpa", Type::Ptr).rcode() == Rcode::Refused);
    CHECK(f.ask("db.corp.example").verdict == Verdict::Forward);
    CHECK(has(f.ask("pi"), {"192.168.100.7"}));
    CHECK(f.ask("nobody.vm.internal").rcode() == Rcode::NxDomain);
}

TEST_CASE("ANY gets a minimal answer and is never forwarded") {
    LocalLab f;
    const Said said = f.ask("www.example.org", Type::Any);
    CHECK(said.verdict == Verdict::Minimal);
    REQUIRE(said.seen.items.size() == 1);
    CHECK(said.seen.items[0].type == Type::Hinfo);
    CHECK(said.seen.items[0].rdata == Packet{7, 'R', 'F', 'C', '8', '4', '8', '2', 0});
    CHECK(is_nxdomain(f.ask("no.vm.internal", Type::Any), "vm.internal"));
}

TEST_CASE("Other classes are passed on but for what is ours or must not leave") {
    LocalLab f;
    f.config.block = {*DomainPattern::parse("ads.example")};
    f.config.routes = {{name("corp.example"), 3}};
    for (const Class klass : {Class::Hesiod, Class::None, Class::Any, Class{17}}) {
        for (const char* ours :
             {"pi", "pi.vm.internal", "nas.vm.internal", "nobody.vm.internal", "localhost", "x.local", "unknown",
              "7.100.168.192.in-addr.arpa", "1.1.1.10.in-addr.arpa", "home.arpa"})
            CHECK(f.ask(query(ours, Type::A, klass)).rcode() == Rcode::Refused);
        CHECK(f.ask(query("box.fritz.box", Type::A, klass)).rcode() == Rcode::Refused);
        CHECK(f.ask(query("ads.example", Type::A, klass)).rcode() == Rcode::Refused);
        CHECK(f.ask(query("www.example.com", Type::Any, klass)).rcode() == Rcode::Refused);
        CHECK(f.ask(query("www.example.com", Type::A, klass)).verdict == Verdict::Forward);
        const Said routed = f.ask(query("x.corp.example", Type::Txt, klass));
        CHECK(routed.verdict == Verdict::Forward);
        REQUIRE(routed.route != nullptr);
        CHECK(routed.route->upstream_group == 3);
    }
}

TEST_CASE("Local answers copy DO and fit into 512 bytes") {
    LocalLab f;
    for (std::uint8_t i = 0; i < 60; ++i) f.config.records.push_back({name("many.example"), Ipv4(1, 1, 1, i)});
    const Said said = f.ask(edns_query("pi.vm.internal", Type::A, true));
    CHECK(said.seen.has_opt);
    CHECK(said.seen.dnssec_ok);
    CHECK_FALSE(said.seen.ad());
    CHECK(f.ask(query("many.example"), 512).seen.tc());
    CHECK(f.ask(query("many.example"), 1232).seen.addresses().size() == 60);
}

TEST_CASE("The longest names are answered within 512 bytes") {
    LocalLab f;
    const std::string label(63, 'a');
    const std::string longest = label + "." + label + "." + label + "." + std::string(52, 'b') + ".invalid";
    const Said said = f.ask(edns_query(longest), 512);
    CHECK(said.rcode() == Rcode::NxDomain);
    CHECK_FALSE(said.seen.tc());
}
