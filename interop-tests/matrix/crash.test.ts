import { matrixTests } from './cells.ts'

// TRIVET_KILLS=<n> kills more often.
matrixTests({ kills: Number(process.env['TRIVET_KILLS'] ?? 5) })
