// A number's decimal digits, written without making a string of it.
const ZERO = 48
const MINUS = 45

/** Digits of the largest safe integer. */
export const LONG_DIGITS = 16

/** Writes the digits from `at` on. @returns where they end */
export function putDecimal(target: Uint8Array, at: number, value: number): number {
  let rest = value
  let from = at
  if (rest < 0) {
    target[from++] = MINUS
    rest = -rest
  }
  let digits = 1
  for (let bound = 10; rest >= bound; bound *= 10) digits++
  const end = from + digits
  // Above 2^31 integer arithmetic is done on doubles; below, on small integers.
  let i = end - 1
  while (rest > 0x7fffffff) {
    const next = Math.floor(rest / 10)
    target[i--] = ZERO + (rest - next * 10)
    rest = next
  }
  let small = rest | 0
  for (; i >= from; i--) {
    const next = (small / 10) | 0
    target[i] = ZERO + (small - next * 10)
    small = next
  }
  return end
}
