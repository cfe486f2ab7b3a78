// Which leg a command line asks for; the others are not even loaded.
import type { Leg, LegAround } from './leg.ts'

export async function openLeg(around: LegAround): Promise<Leg> {
  switch (around.flags.via) {
    case 'mqtt':
      return (await import('./mqtt-leg.ts')).openMqttLeg(around)
    case 'amqp':
      return (await import('./amqp-leg.ts')).openAmqpLeg(around)
    default:
      return (await import('./native-leg.ts')).openNativeLeg(around)
  }
}
