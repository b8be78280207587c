// The function of a mini program around the crop: a fileID in, the fileID of the cut picture out.
const crypto = require('crypto')
const sharp = require('sharp')
const cloud = require(process.env.SDK)
cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV, serviceUrl: process.env.SERVICE_URL })

exports.main = async (event) => {
  const { fileID } = await cloud.uploadFile({ cloudPath: 'in/a 图.jpg', fileContent: Buffer.from(event.picture, 'base64') })
  const { fileList } = await cloud.getTempFileURL({ fileList: [fileID, { fileID: `${fileID}.none`, maxAge: 60 }] })
  const { fileContent } = await cloud.downloadFile({ fileID })
  const crop = await cloud.openapi.img.aiCrop({ imgUrl: fileList[0].tempFileURL, ratios: '1' })
  const { cropLeft: left, cropTop: top, cropRight, cropBottom } = crop.results[0] // pixels, the last ones included
  const cut = await sharp(fileContent).extract({ left, top, width: cropRight - left + 1, height: cropBottom - top + 1 }).png().toBuffer()
  const stored = await cloud.uploadFile({ cloudPath: 'out/a.png', fileContent: cut })
  const back = await cloud.downloadFile({ fileID: stored.fileID })
  const deleted = await cloud.deleteFile({ fileList: [fileID, fileID] })
  const gone = await cloud.downloadFile({ fileID }).catch((err) => err.errMsg)
  const hostile = await cloud.deleteFile({ fileList: ['cloud://env-1.b/../secret.txt'] })
  const call = await cloud.callFunction({ name: 'other' }).catch((err) => err.errMsg)
  const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')
  delete fileList[0].tempFileURL // signed anew each time
  return { fileID, fileList, same: digest(fileContent), crop, stored: stored.fileID, back: back.fileContent.equals(cut), deleted, gone, hostile, call, statusCode: stored.statusCode }
}

let event = ''
process.stdin.on('data', (chunk) => { event += chunk })
process.stdin.on('end', () => exports.main(JSON.parse(event)).then((answer) => {
  console.log(JSON.stringify(answer))
  process.exit(0)
}, (err) => {
  console.error(err)
  process.exit(1)
}))
