"""XXH3, 64 bits, without a seed: the checksum of the cache's records, written from its
specification so that nothing of the programs under test is used. Slow; for records."""
import struct

MASK = (1 << 64) - 1
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
STRIPE, BLOCK_STRIPES = 64, (192 - 64) // 8


def word(buf, at):
    return struct.unpack_from("<Q", buf, at)[0]


def fold(a, b):
    """Both halves of the 128-bit product."""
    p = a * b
    return (p ^ (p >> 64)) & MASK


def mix(data, at, secret_at):
    return fold(word(data, at) ^ word(SECRET, secret_at), word(data, at + 8) ^ word(SECRET, secret_at + 8))


def avalanche(h):
    h &= MASK
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & MASK
    return h ^ (h >> 32)


def of_nothing():
    h = word(SECRET, 56) ^ word(SECRET, 64)
    h = (h ^ (h >> 33)) * P64_2 & MASK
    h = (h ^ (h >> 29)) * P64_3 & MASK
    return h ^ (h >> 32)


def up_to_128(data):
    n = len(data)
    acc = n * P64_1
    for i in range((n - 1) // 32 + 1):
        acc += mix(data, 16 * i, 32 * i) + mix(data, n - 16 * (i + 1), 32 * i + 16)
    return avalanche(acc)


def up_to_240(data):
    n = len(data)
    acc = avalanche(n * P64_1 + sum(mix(data, 16 * i, 16 * i) for i in range(8)))
    acc += sum(mix(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
    return avalanche(acc + mix(data, n - 16, 136 - 17))


def stripe(acc, data, at, secret_at):
    for i in range(8):
        value = word(data, at + 8 * i)
        key = value ^ word(SECRET, secret_at + 8 * i)
        acc[i ^ 1] = (acc[i ^ 1] + value) & MASK
        acc[i] = (acc[i] + (key & 0xFFFFFFFF) * (key >> 32)) & MASK


def long(data):
    n = len(data)
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    for i in range((n - 1) // STRIPE):
        stripe(acc, data, STRIPE * i, 8 * (i % BLOCK_STRIPES))
        if i % BLOCK_STRIPES == BLOCK_STRIPES - 1:
            for k in range(8):
                a = acc[k] ^ (acc[k] >> 47) ^ word(SECRET, 192 - 64 + 8 * k)
                acc[k] = a * P32_1 & MASK
    stripe(acc, data, n - STRIPE, 192 - 64 - 7)
    return avalanche(n * P64_1 + sum(fold(acc[2 * i] ^ word(SECRET, 11 + 16 * i), acc[2 * i + 1] ^ word(SECRET, 19 + 16 * i))
                                     for i in range(4)))


def xxh3(data):
    n = len(data)
    if n == 0:
        return of_nothing()
    if n <= 16:
        raise ValueError("no record of the cache is so short")
    return up_to_128(data) if n <= 128 else up_to_240(data) if n <= 240 else long(data)
