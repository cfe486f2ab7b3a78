// RocketMQ's ACL: the signed content and the signing side. The authenticator compares.
import { createHmac } from 'node:crypto'
import type { Fields } from './header/header.ts'

export const ACL_FIELD = {
  accessKey: 'AccessKey',
  signature: 'Signature',
  securityToken: 'SecurityToken',
} as const

/**
 * The signed bytes: the values of all fields but the signature, sorted by field name, then the
 * body. The access key is a field like the others.
 */
export function signedContent(fields: Fields, body: Uint8Array): readonly Uint8Array[] {
  let values = ''
  for (const name of [...fields.keys()].sort()) {
    if (name !== ACL_FIELD.signature) values += fields.get(name)!
  }
  return [Buffer.from(values, 'utf8'), body]
}

export function sign(secretKey: string, content: readonly Uint8Array[]): string {
  const hmac = createHmac('sha1', secretKey)
  for (const piece of content) hmac.update(piece)
  return hmac.digest('base64')
}

export interface Credentials {
  readonly accessKey: string
  readonly secretKey: string
}

/** The fields with access key and signature added. */
export function signFields(credentials: Credentials, fields: Fields, body: Uint8Array): Fields {
  const signed = new Map(fields).set(ACL_FIELD.accessKey, credentials.accessKey)
  const signature = sign(credentials.secretKey, signedContent(signed, body))
  return signed.set(ACL_FIELD.signature, signature)
}
