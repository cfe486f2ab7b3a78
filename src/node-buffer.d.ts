// Buffer methods of Node that its type package leaves out; each is documented by Node's own sources
// and several times cheaper than `toString` and `write` for short strings.
interface Buffer {
  latin1Slice(start?: number, end?: number): string
  latin1Write(text: string, offset?: number, length?: number): number
  utf8Slice(start?: number, end?: number): string
  utf8Write(text: string, offset?: number, length?: number): number
}
