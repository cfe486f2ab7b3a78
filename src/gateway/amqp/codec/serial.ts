// RFC 1982 arithmetic over 32 bits: delivery ids, transfer ids and delivery counts start anywhere
// and wrap (AMQP 2.8.8 sequence-no).

export const serialNext = (n: number): number => (n + 1) >>> 0

export const serialAdd = (n: number, by: number): number => (n + by) >>> 0

/** How far `a` is ahead of `b`: negative when behind; from -2^31 to 2^31 - 1. */
export const serialDiff = (a: number, b: number): number => (a - b) | 0

/**
 * The rest of `allowed` (any uint) for the side that has counted to `sent`, when the side that
 * allowed it had seen up to `seen`: a session's window or a link's credit (AMQP 2.5.6, 2.6.7). Only
 * the two counts are compared as serial numbers; the sum of both may be anywhere.
 */
export const remaining = (allowed: number, sent: number, seen: number): number =>
  Math.min(0xffff_ffff, Math.max(0, allowed - serialDiff(sent, seen)))
