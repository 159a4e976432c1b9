#include "src/base/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

/// SGR parameters (ECMA-48 section 8.3.117): the eight basic colours, which every theme keeps readable.
std::string_view code(Style style) {
    switch (style) {
        case Style::Plain:
            return "";
        case Style::Title:
            return "1";
        case Style::Faint:
            return "2";
        case Style::Good:
            return "32";
        case Style::Warn:
            return "33";
        case Style::Bad:
            return "1;31";
        case Style::Name:
            return "36";
    }
    return "";
}

std::size_t columns(int descriptor) {
    winsize size{};
    return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

Terminal Terminal::of(const std::ostream& stream) {
    const bool is_error = &stream == &std::cerr || &stream == &std::clog;
    if (!is_error && &stream != &std::cout) return {};
    return of(is_error ? STDERR_FILENO : STDOUT_FILENO, std::getenv("NO_COLOR"), std::getenv("TERM"));
}

Terminal Terminal::of(int descriptor, const char* no_color, const char* term) {
    if (isatty(descriptor) == 0) return {};
    const bool is_dumb = term == nullptr || std::string_view(term).empty() || std::string_view(term) == "dumb";
    const bool is_refused = no_color != nullptr && *no_color != '\0';
    return {true, !is_dumb && !is_refused, columns(descriptor)};
}

std::string Terminal::paint(Style style, std::string_view text) const {
    const auto parameters = code(style);
    if (!colours || parameters.empty() || text.empty()) return std::string(text);
    return "\x1b[" + std::string(parameters) + 'm' + std::string(text) + "\x1b[0m";
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (c >= ' ' && c <= '~')
            out += c;
        else
            out += escape({&c, 1});
    }
    return out;
}

std::string wrap(std::string_view text, std::size_t width, std::size_t indent) {
    if (width == 0) return std::string(text);
    std::string out;
    std::size_t column = 0;
    for (const auto word : split(text, ' ')) {
        if (!out.empty() && column + 1 + word.size() > width) {
            out += '\n' + std::string(indent, ' ');
            column = indent;
        } else if (!out.empty()) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

void Progress::show(std::string_view what, std::size_t step, std::size_t total) {
    if (!terminal_.is_terminal) return;
    std::string line;
    if (total > 0) line = '[' + std::to_string(step) + '/' + std::to_string(total) + "] ";
    line += printable(what);
    if (terminal_.width > 1 && line.size() >= terminal_.width) line.resize(terminal_.width - 1);  // never a second line
    stream_ << "\r\x1b[K" << terminal_.paint(Style::Faint, line) << std::flush;
    is_shown_ = true;
}

void Progress::clear() {
    if (!is_shown_) return;
    stream_ << "\r\x1b[K" << std::flush;
    is_shown_ = false;
}

}  // namespace vmrouter
