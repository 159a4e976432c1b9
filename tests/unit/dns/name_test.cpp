#include "dns/name.hpp"

#include <catch2/catch.hpp>

#include "dns/name_map.hpp"
#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

const std::string label63(63, 'a');
/// Three labels of 63, and one of 61: 255 bytes on the wire.
const std::string longest = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');

}  // namespace

TEST_CASE("A name is parsed from text with or without the last dot") {
    CHECK(name("www.Example.com").wire().size() == 17);
    CHECK(to_string(name("www.Example.com.")) == "www.Example.com");
    CHECK(name(".").is_root());
    CHECK(to_string(Name{}) == ".");
    CHECK(name("a").labels() == 1);
    CHECK(name("a.b.c").labels() == 3);
}

TEST_CASE("Names with empty labels or beyond the limits of RFC 1035 are refused") {
    for (const char* bad : {"", "..", ".a", "a..b", "a..", "\\", "a\\2", "a\\25", "a\\256", "\\300.b"})
        CHECK_FALSE(Name::parse(bad));
    CHECK(Name::parse(label63));
    CHECK_FALSE(Name::parse(label63 + "a"));
    REQUIRE(Name::parse(longest));
    CHECK(name(longest).size() == 255);
    CHECK(name(longest + ".").size() == 255);
    CHECK_FALSE(Name::parse(longest + "b"));
    CHECK_FALSE(Name::parse(longest + "b."));
}

TEST_CASE("Odd bytes in labels survive text and back") {
    const Name odd = *Name::join(std::string_view("a.b\\c\0\xff \"", 9), name("x"));
    CHECK(to_string(odd) == "a\\.b\\\\c\\000\\255\\032\\\".x");
    CHECK(name(to_string(odd)).identical(odd));
    CHECK(odd.labels() == 2);
}

TEST_CASE("Comparison and hash ignore ASCII case and nothing else") {
    CHECK(name("WWW.eXample.Com") == name("www.example.com"));
    CHECK_FALSE(name("WWW.eXample.Com").identical(name("www.example.com")));
    CHECK(name("WWW.EXAMPLE.COM.AND.MORE").hash() == name("www.example.com.and.more").hash());
    CHECK_FALSE(name("a.bc") == name("ab.c"));
    CHECK(name("a.bc").hash() != name("ab.c").hash());
    // The neighbours of the letters, and letters with the top bit, are not letters (RFC 4343 section 3).
    for (const auto& [upper, lower] : {std::pair{0x40, 0x60}, {0x5b, 0x7b}, {0xc1, 0xe1}, {0xda, 0xfa}}) {
        const std::string left(9, static_cast<char>(upper));
        const std::string right(9, static_cast<char>(lower));
        CHECK_FALSE(*Name::join(left, Name{}) == *Name::join(right, Name{}));
        CHECK(Name::join(left, Name{})->hash() != Name::join(right, Name{})->hash());
        CHECK_FALSE(*Name::join(left.substr(0, 2), Name{}) == *Name::join(right.substr(0, 2), Name{}));
    }
    Name folded = name("AbC.Z");
    folded.fold();
    CHECK(folded.identical(name("abc.z")));
}

TEST_CASE("A name is under itself and its parents by whole labels only") {
    CHECK(name("a.B.c").is_under(name("b.C")));
    CHECK(name("b.c").is_under(name("b.c")));
    CHECK(name("b.c").is_under(Name{}));
    CHECK_FALSE(name("b.c").is_under(name("a.b.c")));
    CHECK_FALSE(name("ab.c").is_under(name("b.c")));
    // A label that ends in the bytes of the zone's wire form.
    CHECK_FALSE(Name::join(std::string_view("x\1b\1c", 5), Name{})->is_under(name("b.c")));
    CHECK(name("a.b.c").parent() == name("b.c"));
    CHECK(Name{}.parent().is_root());
    CHECK(name("abc.d").first_label() == "abc");
}

TEST_CASE("Compressed names are followed backwards and nowhere else") {
    // 12: "example.com"; 25: "www" and a pointer to 12; 31: a pointer to 25; 33: to itself; 35: forward; 37: into the
    // header; 39: a reserved kind of label.
    const Packet message =
        Packet(12, 0) + hex("07 6578616d706c65 03 636f6d 00 | 03 777777 c00c | c019 | c021 | c025 | c000 | 40 00");
    Name read;
    std::size_t position = 25;
    REQUIRE(read.read(message, position));
    CHECK(to_string(read) == "www.example.com");
    CHECK(position == 31);
    REQUIRE(read.read(message, position));
    CHECK(to_string(read) == "www.example.com");
    CHECK(position == 33);
    for (std::size_t bad : {33, 35, 37, 39, 1000}) {
        position = bad;
        CHECK_FALSE(read.read(message, position));
        CHECK(read.is_root());
        CHECK(position == bad);
    }
    position = 25;
    CHECK_FALSE(read.read_uncompressed(message, position));
    // Two names that point at each other: the second hop is not backwards.
    const Packet loop = Packet(12, 0) + hex("01 61 c010 | 01 62 c00c");
    position = 16;
    CHECK_FALSE(read.read(loop, position));
    // A label that is pointed to and reaches over the pointer.
    const Packet forward = Packet(12, 0) + hex("03 c00c 62 00");
    position = 13;
    CHECK_FALSE(read.read(forward, position));
    every_truncation(message, [](Bytes bytes) {
        for (std::size_t at = 0; at <= bytes.size(); ++at) {
            Name name;
            std::size_t from = at;
            name.read(bytes, from);
            from = at;
            name.read_uncompressed(bytes, from);
        }
    });
}

TEST_CASE("A chain of pointers longer than a name has labels is refused") {
    Packet message(13, 0);
    for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t to = i == 0 ? 12 : 13 + 2 * (i - 1);
        message.push_back(static_cast<std::uint8_t>(0xc0 | to >> 8));
        message.push_back(static_cast<std::uint8_t>(to));
    }
    Name read;
    std::size_t position = 13 + 2 * 126;
    CHECK(read.read(message, position));
    position = 13 + 2 * 127;
    CHECK_FALSE(read.read(message, position));
}

TEST_CASE("Compression cannot make a name longer than 255 bytes") {
    Packet message = Packet(12, 0) + target(longest);
    Name read;
    message.insert(message.end(), {0xc0, 12});
    std::size_t position = 12 + 255;
    CHECK(read.read(message, position));
    CHECK(read.size() == 255);
    message.resize(12 + 255);
    message.insert(message.end(), {0x01, 'x', 0xc0, 12});
    position = 12 + 255;
    CHECK_FALSE(read.read(message, position));
    CHECK_FALSE(Name::join("x", name(longest)));
}

TEST_CASE("Suffixes hash like the names they are") {
    const Name whole = name("A.bb.example.COM");
    const Suffixes suffixes(whole);
    REQUIRE(suffixes.labels() == 4);
    CHECK(suffixes.hash(0) == name("a.bb.example.com").hash());
    CHECK(suffixes.hash(2) == name("example.com").hash());
    CHECK(suffixes.hash(4) == Name{}.hash());
    CHECK(suffixes.wire(4).size() == 1);
    CHECK(suffixes.wire(2).size() == 13);
}

TEST_CASE("A compressor points to the longest suffix it has written and reads back the same") {
    std::vector<std::uint8_t> buffer(512);
    Writer writer(buffer);
    writer.zeros(12);
    Compressor names;
    for (const char* text : {"www.example.com", "mail.EXAMPLE.com", "www.example.com", "com", ".", "x.y"})
        names.write(writer, name(text));
    REQUIRE(writer.ok());
    // Full; label and pointer; pointer; pointer; root; full.
    CHECK(writer.position() == 12 + 17 + 7 + 2 + 2 + 1 + 5);
    std::size_t position = 12;
    for (const char* text : {"www.example.com", "mail.example.com", "www.example.com", "com", ".", "x.y"}) {
        Name read;
        REQUIRE(read.read(writer.written(), position));
        CHECK(read == name(text));
    }
    CHECK(position == writer.position());
}

TEST_CASE("A compressor never points beyond what 14 bits can say") {
    std::vector<std::uint8_t> buffer(20000);
    Writer writer(buffer);
    writer.zeros(0x3fff);
    Compressor names;
    names.write(writer, name("ab.example"));
    names.write(writer, name("cd.example"));
    std::size_t position = 0x3fff;
    for (const char* text : {"ab.example", "cd.example"}) {
        Name read;
        REQUIRE(read.read(writer.written(), position));
        CHECK(read == name(text));
    }
}

TEST_CASE("A map of names finds them in any case and only them") {
    NameMap<int> map;
    CHECK(map.find(name("a")) == nullptr);
    for (int i = 0; i < 1000; ++i) map[name("n" + std::to_string(i) + ".Example")] = i;
    CHECK(map.size() == 1000);
    for (int i = 0; i < 1000; ++i) {
        const int* found = map.find(name("N" + std::to_string(i) + ".eXample"));
        REQUIRE(found != nullptr);
        CHECK(*found == i);
    }
    CHECK(map.find(name("n1000.example")) == nullptr);
    CHECK(map.find(name("example")) == nullptr);
    map[name("N5.EXAMPLE")] = 7;
    CHECK(map.size() == 1000);
    CHECK(*map.find(name("n5.example")) == 7);
}
