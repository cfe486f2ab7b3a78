// RFC 1982 arithmetic over 32 bits: delivery ids, transfer ids and delivery counts start anywhere and
// wrap (AMQP 2.8.8 sequence-no).

export const serialNext = (n: number): number => (n + 1) >>> 0

export const serialAdd = (n: number, by: number): number => (n + by) >>> 0

/** How far `a` is ahead of `b`: negative when behind; from -2^31 to 2^31 - 1. */
export const serialDiff = (a: number, b: number): number => (a - b) | 0
