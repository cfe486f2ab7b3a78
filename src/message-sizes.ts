// Settings that have to make room for the largest message: a set value that is too small for it is
// refused at the start, a value that was not set follows it.
import { BODY_BYTES_DEFAULT } from './model/limits.ts'

export interface Sizes {
  readonly broker: { readonly bodyBytesMax: number }
  readonly store: { readonly retentionBytes?: number | undefined }
  readonly remoting: { readonly unsentBytesMax: number }
  readonly mqtt: { readonly unsentBytesMax: number; readonly packetBytesMax?: number | undefined }
  readonly amqp: { readonly unsentBytesMax: number; readonly messageBytesMax?: number | undefined }
}

/**
 * Room for all of a message but its body, in the units of every protocol: name, properties,
 * sections.
 */
const BESIDE_BODY_BYTES = 128 * 1024

export interface SizeProblem {
  readonly path: string[]
  readonly message: string
}

export function sizeProblems(config: Sizes): SizeProblem[] {
  const { bodyBytesMax } = config.broker
  const most = bodyBytesMax + BESIDE_BODY_BYTES
  const problems: SizeProblem[] = []
  const refuse = (path: string[], what: string): void => {
    const message = `is too small for what broker.bodyBytesMax allows (${bodyBytesMax}): ${what}`
    problems.push({ path, message: `${message}; ${most} is the least` })
  }
  for (const name of ['remoting', 'mqtt', 'amqp'] as const) {
    if (config[name].unsentBytesMax >= most) continue
    refuse([name, 'unsentBytesMax'], 'the largest message would end the connection that reads it')
  }
  const { retentionBytes = most } = config.store
  if (retentionBytes < most) {
    refuse(['store', 'retentionBytes'], 'the largest message would not be kept')
  }
  return problems
}

/**
 * Room for the largest body, and for the default one where that is more: a refusal can then be in
 * words.
 */
export function fillInSizes<C extends Sizes>(config: C) {
  const largest = Math.max(BODY_BYTES_DEFAULT, config.broker.bodyBytesMax) + BESIDE_BODY_BYTES
  const { packetBytesMax = largest } = config.mqtt
  const { messageBytesMax = largest } = config.amqp
  const mqtt: C['mqtt'] & { packetBytesMax: number } = { ...config.mqtt, packetBytesMax }
  const amqp: C['amqp'] & { messageBytesMax: number } = { ...config.amqp, messageBytesMax }
  return { ...config, mqtt, amqp }
}
