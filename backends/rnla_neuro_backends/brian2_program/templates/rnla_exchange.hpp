// The program's end of the conversation with the process that runs the environment.
//
// The program is the client of a Unix socket, whose path is in the environment variable RNLA_SOCKET. At each
// tick it answers the last message with what was wanted of the block, and waits for the next one:
//
//   header   magic 'RNLA' (uint32), command (uint32), sequence (uint64), bytes after the header (uint64)
//   body     number of arrays wanted, number given (uint32 each);
//            for each wanted, then each given: index of the array, 0 (uint32 each), number of elements (uint64);
//            the elements of those given, each array padded to 8 bytes
//   answer   a header with the same command and sequence, then the wanted arrays, each padded to 8 bytes
//
// `advance` is answered after the block, `exchange` at once; `end` lets the program finish, `quit` too, but
// without Brian2's result files. All numbers are in the machine's own order: both ends run on one machine.
//
// Whatever goes wrong ends the program with a line on stderr and exit code 3; so does a peer that is gone,
// also one that died without closing the socket (another process may have inherited it).

#ifndef RNLA_EXCHANGE_HPP
#define RNLA_EXCHANGE_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace rnla_link {

constexpr std::uint32_t MAGIC = 0x414c4e52u, PROTOCOL = 2;
constexpr int FAILED = 3;
enum Command : std::uint32_t { HELLO = 1, ADVANCE = 2, EXCHANGE = 3, END = 4, QUIT = 5 };

struct Header {
    std::uint32_t magic, command;
    std::uint64_t sequence, bytes;
};
struct Item {
    std::uint32_t array, unused;
    std::uint64_t count;
};
struct Array {
    const char* name;
    void* data;
    std::size_t item, size;
};

[[noreturn]] inline void fail(const std::string& what) {
    std::fprintf(stderr, "rnla: %s\n", what.c_str());
    std::fflush(stderr);
    std::_Exit(FAILED);
}

[[noreturn]] inline void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

class Link {
  public:
    // Where arrays live elsewhere (on a GPU): called with an array and a number of elements, before they are
    // sent, and after they have been received.
    std::function<void(const Array&, std::size_t)> fetch, store;

    Link(const char* key, std::vector<Array> arrays) : arrays_(std::move(arrays)), parent_(getppid()) {
        connect_socket();
        std::vector<char> hello(sizeof(Header) + sizeof(std::uint64_t));
        const std::uint64_t protocol = PROTOCOL;
        std::memcpy(hello.data() + sizeof(Header), &protocol, sizeof protocol);
        hello.insert(hello.end(), key, key + std::strlen(key));
        const Header header{MAGIC, HELLO, 0, hello.size() - sizeof(Header)};
        std::memcpy(hello.data(), &header, sizeof header);
        send_all(hello.data(), hello.size());
    }

    // Answer for the last block, then serve until the next one. Returns whether there is a next one.
    bool next_block() {
        if (in_block_) answer();
        in_block_ = false;
        for (;;) {
            receive();
            switch (header_.command) {
                case ADVANCE:
                    in_block_ = true;
                    return true;
                case EXCHANGE:
                    answer();
                    break;
                case END:
                case QUIT:
                    answer();
                    if (header_.command == QUIT) std::_Exit(0);
                    close(socket_);
                    return false;
                default:
                    fail("the peer sent the unknown command " + std::to_string(header_.command));
            }
        }
    }

  private:
    std::vector<Array> arrays_;
    std::vector<Item> wanted_, given_;
    std::vector<char> in_ = std::vector<char>(1 << 16), out_;
    Header header_{};
    std::uint64_t sequence_ = 0;
    int socket_ = -1;
    pid_t parent_;
    bool in_block_ = false;

    static std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

    void connect_socket() {
        const char* path = std::getenv("RNLA_SOCKET");
        if (path == nullptr || *path == 0)
            fail("RNLA_SOCKET is not set: this program is started by rnla_neuro, which gives it a Unix socket");
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (std::strlen(path) >= sizeof address.sun_path) fail(std::string("the socket's path is too long: ") + path);
        std::strcpy(address.sun_path, path);
        socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
        if (socket_ < 0) fail_errno("no socket");
        if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            fail_errno(std::string("cannot connect to the socket ") + path);
        const timeval second{1, 0};  // so that a wait ends when the parent is gone
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
        setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
#ifdef SO_NOSIGPIPE
        const int on = 1;
        setsockopt(socket_, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    }

    // After a send or receive that moved nothing: go on, or end.
    void wait_on(const char* what) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) fail_errno(what);
        if (getppid() != parent_) lost("the process that started this program is gone");
    }

    // The peer is gone. If it has died, nobody else removes the run's folder: the log in it, and what is empty.
    [[noreturn]] void lost(const char* what) {
        usleep(100000);  // a process that is killed closes its socket just before it is gone
        const char* path = std::getenv("RNLA_SOCKET");
        if (getppid() != parent_ && path != nullptr) {
            const std::string folder = std::string(path).substr(0, std::string(path).find_last_of('/') + 1);
            unlink((folder + "log").c_str());
            rmdir((folder + "results").c_str());
            rmdir(folder.c_str());
        }
        fail(what);
    }

    void send_all(const char* data, std::size_t bytes) {
#ifdef MSG_NOSIGNAL
        const int flags = MSG_NOSIGNAL;
#else
        const int flags = 0;
#endif
        while (bytes > 0) {
            const ssize_t sent = send(socket_, data, bytes, flags);
            if (sent <= 0) {
                wait_on("the peer does not read");
                continue;
            }
            data += sent;
            bytes -= static_cast<std::size_t>(sent);
        }
    }

    // One message: the peer sends the next only when this one has been answered.
    void receive() {
        std::size_t have = 0, expected = sizeof(Header);
        while (have < expected) {
            const ssize_t got = recv(socket_, in_.data() + have, in_.size() - have, 0);
            if (got == 0) lost("the peer closed the connection without ending the run");
            if (got < 0) {
                wait_on("the peer cannot be heard");
                continue;
            }
            const bool complete = have >= sizeof(Header);
            have += static_cast<std::size_t>(got);
            if (!complete && have >= sizeof(Header)) {
                read_header();
                expected += header_.bytes;
                if (in_.size() < expected) in_.resize(expected);
            }
        }
        if (have > expected) fail("the peer sent more than a message");
        read_body(in_.data() + sizeof(Header), in_.data() + expected);
    }

    void read_header() {
        std::memcpy(&header_, in_.data(), sizeof header_);
        if (header_.magic != MAGIC) fail("the peer does not speak rnla's protocol");
        if (header_.sequence != ++sequence_) fail("a message was lost or sent twice");
    }

    void read_body(const char* from, const char* end) {
        const auto take = [&](void* into, std::size_t bytes) {
            if (static_cast<std::size_t>(end - from) < bytes) fail("a message is shorter than it says");
            std::memcpy(into, from, bytes);
            from += bytes;
        };
        std::uint32_t wanted = 0, given = 0;
        take(&wanted, sizeof wanted);
        take(&given, sizeof given);
        const auto items = [&](std::vector<Item>& into, std::uint32_t count) {
            into.resize(count);
            for (Item& item : into) {
                take(&item, sizeof item);
                find(item);
            }
        };
        items(wanted_, wanted);
        items(given_, given);
        for (const Item& item : given_) {
            const Array& array = arrays_[item.array];
            const std::size_t bytes = item.count * array.item;
            char padding[8];
            take(array.data, bytes);
            take(padding, padded(bytes) - bytes);
            if (store) store(array, item.count);
        }
    }

    void find(const Item& item) const {
        if (item.array >= arrays_.size()) fail("a message names an array that there is not");
        const Array& array = arrays_[item.array];
        if (item.count > array.size) fail(std::string("a message has more elements than the array ") + array.name);
    }

    void answer() {
        std::size_t bytes = 0;
        for (const Item& item : wanted_) bytes += padded(item.count * arrays_[item.array].item);
        out_.resize(sizeof(Header) + bytes);
        const Header header{MAGIC, header_.command, header_.sequence, bytes};
        std::memcpy(out_.data(), &header, sizeof header);
        char* to = out_.data() + sizeof header;
        for (const Item& item : wanted_) {
            const Array& array = arrays_[item.array];
            if (fetch) fetch(array, item.count);
            std::memcpy(to, array.data, item.count * array.item);
            to += padded(item.count * array.item);
        }
        send_all(out_.data(), out_.size());
    }
};

}  // namespace rnla_link

#endif
