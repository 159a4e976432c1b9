#include <fcntl.h>

#include <iostream>

#include "src/cli.hpp"
#include "src/commands/execute.hpp"

namespace {

/// The next file that is opened would get the number of a standard stream that is closed, and what we say would go into
/// it. One that cannot be written takes its place, so that the loss is noticed.
void fill_standard_streams() {
    for (int stream = 0; stream <= 2; ++stream)
        if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) return;
}

int run(int argc, char** argv) {
    const auto parsed = vmrouter::cli::parse({argv + 1, argv + argc});
    if (const auto* finished = std::get_if<vmrouter::cli::Finished>(&parsed)) {
        std::cout << finished->out;
        std::cerr << finished->err;
        return finished->status;
    }
    return vmrouter::execute(std::get<vmrouter::cli::Command>(parsed));
}

}  // namespace

int main(int argc, char** argv) {
    fill_standard_streams();
    const int status = run(argc, argv);
    if (std::cout.flush()) return status;
    std::cerr << "vmrouter: the output could not be written: it is closed, or its disk is full\n";
    return status == 0 ? 1 : status;
}
