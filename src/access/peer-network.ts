// The key by which connections and failures of remote hosts are counted: an IPv4 address, or of
// IPv6 the network of its first 64 bits, for a host that has one address of such a network has them
// all.

const GROUPS = 8
const NETWORK_GROUPS = 4

/**
 * Of an address as the operating system writes it; text that is no such address counts as it is.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const [text, zone] = address.split('%', 2)
  const groups = groupsOf(text ?? '')
  if (groups === undefined) return address
  const [, , , , , mark, high, low] = groups as [...number[]]
  const isMapped = mark === 0xffff && groups.slice(0, 5).every((group) => group === 0)
  if (isMapped) return [high! >> 8, high! & 255, low! >> 8, low! & 255].join('.')
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.toString(16))
  return `${network.join(':')}::/64${zone === undefined ? '' : `%${zone}`}`
}

/** The eight groups, or undefined for a text that is no IPv6 address. */
function groupsOf(text: string): readonly number[] | undefined {
  const [before, after, ...more] = text.split('::')
  if (more.length > 0) return undefined
  const head = numbersOf(before ?? '')
  const tail = numbersOf(after ?? '')
  const missing = GROUPS - head.length - tail.length
  if (after === undefined ? missing !== 0 : missing < 0) return undefined
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail]
  return groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined
}

/** NaN for a text that is no number. The last two groups may be written as an IPv4 address. */
function numbersOf(text: string): readonly number[] {
  if (text === '') return []
  return text.split(':').flatMap((part) => {
    if (!part.includes('.'))
      return /^[0-9a-f]{1,4}$/i.test(part) ? Number.parseInt(part, 16) : Number.NaN
    const bytes = part.split('.').map(Number)
    if (bytes.length !== 4 || bytes.some((byte) => !(byte >= 0 && byte <= 255))) return Number.NaN
    return [bytes[0]! * 256 + bytes[1]!, bytes[2]! * 256 + bytes[3]!]
  })
}
