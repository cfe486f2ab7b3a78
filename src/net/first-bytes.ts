// What the first byte of a connection says. None of the protocols begins like TLS or like HTTP:
// MQTT begins with 0x10, AMQP with an A, and a native frame with its length, far below 256 MiB.

/** A record of TLS that carries a handshake message. */
const HANDSHAKE = 0x16

export const isHello = (chunk: Buffer): boolean => chunk[0] === HANDSHAKE

/**
 * The method of a request, which has capital letters; no method begins with an A. A packet of MQTT
 * that may not be the first, such as PUBREC, begins with a letter too, and a short length follows.
 */
export const isHttp = (chunk: Buffer): boolean => {
  const [first, second] = chunk
  return first! > 0x41 && isCapital(first!) && (second === undefined || isCapital(second))
}

const isCapital = (byte: number): boolean => byte >= 0x41 && byte <= 0x5a

/** TLS: a fatal alert, handshake_failure. What a client with TLS reads where there is none. */
export const NO_TLS = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28])

/** HTTP: the answer that ends the connection. */
export function httpAnswer(status: number, reason: string, text: string): Buffer {
  const body = `${text}\n`
  const head = [
    `HTTP/1.1 ${status} ${reason}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

export type ToldProtocol = 'remoting' | 'mqtt' | 'amqp' | 'http'

const MQTT_CONNECT = 0x10
const AMQP_HEADER = 0x41

/** undefined: none of them begins so. */
export function protocolOf(chunk: Buffer): ToldProtocol | undefined {
  const first = chunk[0]!
  if (first < MQTT_CONNECT) return 'remoting'
  if (first === MQTT_CONNECT) return 'mqtt'
  if (first === AMQP_HEADER) return 'amqp'
  return isHttp(chunk) ? 'http' : undefined
}
