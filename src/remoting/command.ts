// One remoting command, request or response: a header and a body. The two header codecs differ only
// in their bytes; an answer mirrors the codec of its request.
import { putU32 } from '../model/bytes.ts'
import { FLAG_ONE_WAY, FLAG_RESPONSE, LANGUAGE_DEFAULT, VERSION } from './codes.ts'
import { CODEC_BINARY, CODEC_JSON, FRAME_PREFIX_BYTES, type HeaderCodec } from './frame.ts'
import { decodeBinaryHeader, encodeBinaryHeader } from './header/binary-header.ts'
import { type Fields, type Header, NO_FIELDS } from './header/header.ts'
import { decodeJsonHeader, encodeJsonHeader } from './header/json-header.ts'
import { protocolError } from './protocol-error.ts'

export const NO_BODY: Buffer = Buffer.alloc(0)

export interface Command extends Header {
  /** Valid as long as the frame's bytes are; copy bytes to keep. */
  readonly body: Buffer
  readonly codec: HeaderCodec
}

export const isResponse = (header: Header): boolean => (header.flag & FLAG_RESPONSE) !== 0
export const isOneWay = (header: Header): boolean => (header.flag & FLAG_ONE_WAY) !== 0

/** @throws BrokerError PROTOCOL_ERROR */
export function decodeCommand(
  bytes: Buffer,
  headerAt: number,
  bodyAt: number,
  end: number,
  codec: HeaderCodec,
): Command {
  const decode = codec === CODEC_JSON ? decodeJsonHeader : decodeBinaryHeader
  return Object.assign(decode(bytes, headerAt, bodyAt), {
    body: bytes.subarray(bodyAt, end),
    codec,
  })
}

/** The whole frame. */
export function encodeCommand(
  header: Header,
  body: Uint8Array = NO_BODY,
  codec: HeaderCodec = CODEC_JSON,
): Buffer {
  const head = codec === CODEC_BINARY ? encodeBinaryHeader(header) : encodeJsonHeader(header)
  const frame = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + head.length + body.length)
  putHead(frame, head, codec, body.length)
  frame.set(body, FRAME_PREFIX_BYTES + head.length)
  return frame
}

/** The frame up to its body, of which so many bytes follow. */
export function encodeCommandHead(header: Header, bodyBytes: number, codec: HeaderCodec): Buffer {
  const head = codec === CODEC_BINARY ? encodeBinaryHeader(header) : encodeJsonHeader(header)
  const frame = Buffer.allocUnsafe(FRAME_PREFIX_BYTES + head.length)
  putHead(frame, head, codec, bodyBytes)
  return frame
}

function putHead(frame: Buffer, head: Buffer, codec: HeaderCodec, bodyBytes: number): void {
  if (head.length > 0xffffff) throw protocolError(`a header of ${head.length} bytes is too long`)
  putU32(frame, 0, FRAME_PREFIX_BYTES - 4 + head.length + bodyBytes)
  putU32(frame, 4, (codec << 24) | head.length)
  frame.set(head, FRAME_PREFIX_BYTES)
}

export interface RequestParts {
  readonly code: number
  readonly opaque: number
  readonly fields?: Fields | undefined
  readonly oneWay?: boolean | undefined
  readonly language?: string | undefined
}

export const requestHeader = (parts: RequestParts): Header => ({
  code: parts.code,
  language: parts.language ?? LANGUAGE_DEFAULT,
  version: VERSION.v5_3_3,
  opaque: parts.opaque,
  flag: parts.oneWay ? FLAG_ONE_WAY : 0,
  remark: undefined,
  fields: parts.fields ?? NO_FIELDS,
})

export const responseHeader = (
  opaque: number,
  code: number,
  fields: Fields = NO_FIELDS,
  remark?: string,
): Header => ({
  code,
  language: LANGUAGE_DEFAULT,
  version: VERSION.v5_3_3,
  opaque,
  flag: FLAG_RESPONSE,
  remark,
  fields,
})
