// A PUBLISH that is a request to the broker, below $trivet/: its bytes are its own.
import type { Properties } from '../packets/properties.ts'

export interface RequestPublish {
  readonly name: string
  readonly qos: number
  readonly properties: Properties
  readonly payload: Buffer
}
