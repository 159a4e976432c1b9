#pragma once

// What the commands print for people: colours where a terminal shows them, plain text everywhere else. NO_COLOR
// (https://no-color.org) and TERM=dumb switch them off.

#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>

namespace vmrouter {

/// What a word means; how that looks is decided here alone.
enum class Style { Plain, Title, Faint, Good, Warn, Bad, Name };

/// What stands at the other end of a stream.
struct Terminal {
    bool is_terminal = false;
    bool colours = false;
    std::size_t width = 0;  ///< columns; 0: no limit, as in a file or a pipe

    /// For std::cout, std::cerr and std::clog what the descriptor and the environment say; plain for any other stream.
    static Terminal of(const std::ostream& stream);
    /// The same for a descriptor. `no_color` and `term` are those variables; null: not set.
    static Terminal of(int descriptor, const char* no_color, const char* term);

    /// `text` in that style, or as it is. It must be safe to show: see escape() and printable().
    [[nodiscard]] std::string paint(Style style, std::string_view text) const;
};

/// Printable ASCII as it is, every other byte as \xNN: the last line of defence of whatever is shown. Unlike escape()
/// it leaves backslashes alone, so that what was escaped before stays the same.
std::string printable(std::string_view text);

/// `text` in lines of at most `width` columns, broken at spaces; a longer word has a line of its own. One line when
/// `width` is 0. Every line after the first begins with `indent` spaces, which count.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent = 0);

/// One line at the bottom of a terminal that says what a long operation does now; it is gone when the operation ends.
/// Nothing at all where the stream is no terminal.
class Progress {
public:
    Progress(std::ostream& stream, Terminal terminal) : stream_(stream), terminal_(terminal) {}
    explicit Progress(std::ostream& stream) : Progress(stream, Terminal::of(stream)) {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { clear(); }

    /// "[3/12] asking for a lease"; without a total only the text.
    void show(std::string_view what, std::size_t step = 0, std::size_t total = 0);
    /// Before something else is printed.
    void clear();

private:
    std::ostream& stream_;
    Terminal terminal_;
    bool is_shown_ = false;
};

}  // namespace vmrouter
