// How the master of a copy is dialled.
import type { MasterAddress } from '../replication/master-link.ts'
import type { Composition } from './composition.ts'

/** How a master is dialled now: certificates are renewed. */
export const diallingMaster =
  ({ config, certificates, clock }: Composition) =>
  (address: string): MasterAddress => {
    const { masterTls, accessKey, secretKey } = config.replication
    const credentials =
      accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey }
    const tls = masterTls ? certificates.dialling : undefined
    return { address, clock, tls, credentials }
  }
