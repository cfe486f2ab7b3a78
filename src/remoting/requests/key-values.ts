// The name server's key-value space: PUT (100), GET (101), DELETE (102), by namespace (219).
import { type JsonOut, jsonBody } from '../json/json-emitter.ts'
import { entriesAt, parseObject } from '../json/json-members.ts'
import { layout, optional, text } from '../layout.ts'

export const PUT_KEY_VALUE = layout({ namespace: text, key: text, value: text })
export const KEY = layout({ namespace: text, key: text })
export const VALUE = layout({ value: optional(text) })
export const NAMESPACE = layout({ namespace: text })

/** The namespace whose values are 'broker:queues;broker:queues' per topic. */
export const ORDER_TOPIC_CONFIG = 'ORDER_TOPIC_CONFIG'

/** Also the form of GET_BROKER_RUNTIME_INFO (28). */
export const encodeTable = (table: ReadonlyMap<string, JsonOut>): Buffer => jsonBody({ table })

/** The body of a change of settings: a `name=value` on each line. */
export const decodeProperties = (body: Buffer): [name: string, value: string][] =>
  body
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', ...rest] = line.split('=')
      return [name.trim(), rest.join('=').trim()]
    })

export const decodeTable = (body: Buffer): Map<string, string> =>
  new Map([...entriesAt(parseObject(body), 'table')].map(([name, value]) => [name, String(value)]))
