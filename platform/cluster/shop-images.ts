import type { Progress } from '../progress.ts'
import type { ImageArchive } from './program-images.ts'

/** Makes the images of the shop and of its servers, or those that are named. */
export async function ensureShopImages(_progress: Progress, _only?: readonly string[]): Promise<ImageArchive[]> {
  return []
}
