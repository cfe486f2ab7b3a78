// Strict UTF-8 strings (MQTT 1.5.3 / 1.5.4): well-formed, no U+0000. Names (topics, filters, client
// ids, user names) are held to the stricter reading that also refuses control characters and
// non-characters.
import { isUtf8 } from 'node:buffer'

/** All of `bytes[start, end)` between 0x20 and 0x7e: valid as they are, one byte a character. */
function isPlainAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (byte < 0x20 || byte > 0x7e) return false
  }
  return true
}

/** The text, or undefined where the standard forbids it. */
export function decodeText(bytes: Buffer, start: number, end: number): string | undefined {
  if (isPlainAscii(bytes, start, end)) return bytes.latin1Slice(start, end)
  if (!isUtf8(bytes.subarray(start, end))) return undefined
  const text = bytes.utf8Slice(start, end)
  return text.includes('\u0000') ? undefined : text
}

/** As decodeText, without control characters and non-characters. */
export function decodeName(bytes: Buffer, start: number, end: number): string | undefined {
  if (isPlainAscii(bytes, start, end)) return bytes.latin1Slice(start, end)
  const text = decodeText(bytes, start, end)
  if (text === undefined) return undefined
  for (const character of text) if (isDiscouraged(character.codePointAt(0)!)) return undefined
  return text
}

const isDiscouraged = (code: number): boolean =>
  code < 0x20 ||
  (code >= 0x7f && code <= 0x9f) ||
  (code >= 0xfdd0 && code <= 0xfdef) ||
  (code & 0xfffe) === 0xfffe
