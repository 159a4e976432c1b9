// manual TEMPLATE.in OUTPUT: writes one manual page; run by the build.

#include <iostream>

#include "src/base/file.hpp"
#include "src/manual/manual.hpp"

namespace {

int fail(const vmrouter::Error& error, const std::string& file) {
    std::cerr << file << ": " << to_string(error) << '\n';
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace vmrouter;
    if (argc != 3) {
        std::cerr << "use: manual TEMPLATE.in OUTPUT\n";
        return 2;
    }
    const std::string from = argv[1];
    const auto text = read_file(from);
    if (!text) return fail(text.error(), from);
    const auto page = from.ends_with(".5.in") ? configuration_manual(*text, conf::sections())
                                              : command_manual(*text, cli::commands());
    if (!page) return fail(page.error(), from);
    if (const auto written = replace_file(argv[2], *page); !written) return fail(written.error(), argv[2]);
    return 0;
}
